"""Answers from memory that are somebody else's, asked of real processes by HTTP (case 18)."""

from __future__ import annotations

import pytest

from tests.support.faulty_provider import answers, calls_tool, ends_early, refuses
from tests.support.runtimes import document_of, endpoint_of

ONCE = {"maxAttempts": 1}
CACHE = {"ttlSeconds": 600, "scope": "User"}
ASKED = {"query": "What is new?", "user_id": "ann"}
CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
USER = {"role": "user", "content": "What is new?"}
CALLING = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
TOLD = [*CALLING, {"role": "tool", "content": "nothing", "tool_call_id": "call-1"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}


@pytest.fixture
async def cached(start_runtime, provider, standing_redis):
    provider.script("gpt-x", answers('{"news": 1}'))
    document = document_of(endpoint_of("gpt-x", provider.base_url), cache=CACHE, retry=ONCE)
    return await start_runtime(document, store=standing_redis)


async def test_case_18_same_question_of_the_same_user_is_answered_from_memory_for_nothing(cached, provider):
    _, asked, first = await cached.run(ASKED)
    assert "x-greylag-cache" not in asked
    status, headers, again = await cached.run(ASKED)
    assert (status, provider.hits["gpt-x"]) == (200, 1)
    assert (again["answer"], again["cached"], again["cost_usd"], again["tokens_used"]) == (
        first["answer"],
        True,
        "0",
        0,
    )
    assert headers["x-greylag-outcome"] == "ok"
    assert headers["x-greylag-cache"] == "hit"
    assert int(headers["age"]) < 60
    assert await cached.metric('agent_cache_lookups_total{result="hit"}') == 1
    # By the other protocol and as a stream it is the same question.
    chatted = await cached.chat({"messages": [USER], "user": "ann"})
    assert chatted[2]["choices"][0]["message"]["content"] == first["answer"]
    assert (await cached.events(ASKED))[-1]["result"]["cached"]
    assert provider.hits["gpt-x"] == 1


OTHERS = {
    "another user": {"user_id": "bob"},
    "nobody's": {"user_id": "anonymous"},
    "another question": {"query": "What is old?"},
    "another case": {"query": "what is new?"},
    "a format": {"response_format": {"type": "json_object"}},
    "a schema": {"response_format": SCHEMA},
    "plain text said": {"response_format": {"type": "text"}},
    "fewer iterations": {"max_iterations": 3},
}


async def test_case_18_stream_of_an_answer_from_memory_says_so_too(cached, provider):
    _, _, first = await cached.run(ASKED)
    async with cached.http.post(f"{cached.url}/agent/run", json={**ASKED, "stream": True}) as response:
        assert response.headers["x-greylag-cache"] == "hit"
        assert int(response.headers["age"]) < 60
        assert first["conversation_id"] != response.headers["x-conversation-id"]
        assert '"cached":true' in await response.text()
    assert provider.hits["gpt-x"] == 1


async def test_case_18_whatever_may_change_the_answer_makes_another_question(cached, provider):
    await cached.run(ASKED)
    for number, (name, change) in enumerate(OTHERS.items(), 2):
        _, _, body = await cached.run({**ASKED, **change})
        assert (body["cached"], provider.hits["gpt-x"]) == (False, number), name


async def test_case_18_earlier_turns_make_another_question(cached, provider):
    _, _, begun = await cached.run({"query": "Hello", "user_id": "ann"})
    await cached.run(ASKED)
    _, _, continued = await cached.run({**ASKED, "conversation_id": begun["conversation_id"]})
    assert (continued["cached"], provider.hits["gpt-x"]) == (False, 3)


CHATS = {
    "a result": TOLD,
    "a result of another call": [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": "call-2"}]},
        {**TOLD[-1], "tool_call_id": "call-2"},
    ],
    "the same said by the user": [*TOLD, {"role": "user", "content": "nothing"}],
    "the same begun by the model": [*TOLD, {"role": "assistant", "content": "nothing"}],
    "other arguments": [
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{**CALL, "function": {"name": "look", "arguments": "1"}}],
        },
        TOLD[-1],
    ],
}


async def test_case_18_result_of_a_tool_belongs_to_its_call(cached, provider):
    for number, (name, messages) in enumerate(CHATS.items(), 1):
        status, _, _ = await cached.chat({"messages": messages, "user": "ann"})
        assert (status, provider.hits["gpt-x"]) == (200, number), name


async def test_case_18_calls_with_tools_of_the_client_are_not_kept(cached, provider):
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    for number in (1, 2):
        await cached.chat({"messages": [USER], "user": "ann", "tools": [tool]})
        assert provider.hits["gpt-x"] == number


async def test_case_18_agents_and_namespaces_share_nothing(start_runtime, provider, standing_redis):
    documents = [document_of(endpoint_of("gpt-x", provider.base_url), cache=CACHE) for _ in range(2)]
    documents.append({**documents[0], "agent": "sales"})
    documents.append({**documents[0], "revision": "support-77aa01e4c3"})
    documents.append({**documents[0], "instructions": "Be brief."})
    for document in documents:
        assert not (await (await start_runtime(document, store=standing_redis)).run(ASKED))[2]["cached"]
    assert provider.hits["gpt-x"] == len(documents)


async def test_case_18_errors_and_cut_or_limited_answers_are_not_kept(cached, provider):
    limited = answers("{}", finish_reason="length")
    provider.script("gpt-x", refuses(500), ends_early(), limited, answers("{}"))
    statuses = [(await cached.run(ASKED))[0] for _ in range(5)]
    assert statuses == [502, 502, 200, 200, 200]
    assert provider.hits["gpt-x"] == 4


async def test_case_18_answers_made_with_tools_are_not_kept(start_runtime, provider, standing_redis, tools):
    provider.script(
        "gpt-x",
        calls_tool("counted__look", {"text": "x"}),
        answers(),
        calls_tool("counted__look", {"text": "x"}),
        answers(),
    )
    document = document_of(
        endpoint_of("gpt-x", provider.base_url), cache=CACHE, tools=[tools.source()], toolPolicy={"default": "Allow"}
    )
    runtime = await start_runtime(document, store=standing_redis)
    for number in (1, 2):
        assert (await runtime.run(ASKED))[0] == 200
        assert tools.counts["look"] == number
