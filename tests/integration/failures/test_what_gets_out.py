"""What a model says reaches callers by the guard alone, and memory as it was meant, asked of real processes by HTTP."""

from __future__ import annotations

import json

import pytest

from tests.support.faulty_provider import BEGIN, DONE, answers, calls_tool, delta, streams, usage
from tests.support.runtimes import document_of, endpoint_of

KEY = "sk-proj-Zx81Lq0vT7mPw3Rb9YcNd2HfKs5JgUe4"
BLOCKED = {"guards": {"blockedOutput": ["project-[0-9]{4}"]}}
ALLOWED = {"toolPolicy": {"default": "Allow"}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.mark.parametrize("arguments", ['{"text": "project-1234"}', '{"text": "proj\\u0065ct-1234"}', "project-1234"])
@pytest.mark.parametrize("stream", [False, True])
async def test_blocked_pattern_in_a_call_of_the_callers_tool_is_withheld(start_runtime, provider, arguments, stream):
    provider.script("gpt-x", calls_tool("look", arguments))
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url), **BLOCKED))
    asked = {"messages": [{"role": "user", "content": "hi"}], "tools": [LOOK], "stream": stream}
    async with runtime.http.post(f"{runtime.url}/v1/chat/completions", json=asked) as response:
        shown = await response.text()
    assert "guard-blocked" in shown
    assert "ct-1234" not in shown
    assert await runtime.metric('guard_blocks_total{side="output",rule="blockedPatterns[0]"}') == 1


async def test_blocked_pattern_in_a_call_of_the_agents_tool_is_not_shown(start_runtime, provider, tools):
    provider.script("gpt-x", calls_tool("counted__write", {"text": "project-1234"}), answers("done"))
    document = document_of(endpoint_of("gpt-x", provider.base_url), tools=[tools.source()], **ALLOWED, **BLOCKED)
    runtime = await start_runtime(document)
    events = await runtime.events()
    assert events[-1]["result"]["answer"] == "done"
    assert tools.texts == ["project-1234"]
    assert "project-1234" not in json.dumps(events)


async def test_name_that_a_model_made_up_reaches_nobody(start_runtime, provider):
    provider.script("gpt-x", calls_tool(KEY, {}), answers("done"))
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)))
    events = await runtime.events()
    assert [event["name"] for event in events if event["type"].startswith("tool.")] == ["unknown", "unknown"]
    assert KEY not in json.dumps(events)


async def test_streamed_answer_is_that_of_the_last_model_call(start_runtime, provider, tools):
    call = {
        "index": 0,
        "id": "a",
        "type": "function",
        "function": {"name": "counted__look", "arguments": '{"text":""}'},
    }
    thinks = streams(BEGIN, delta(content="Let me look."), delta(tool_calls=[call]), delta("tool_calls"), usage(), DONE)
    provider.script("gpt-x", thinks, streams(BEGIN, delta("stop"), usage(), DONE))
    document = document_of(endpoint_of("gpt-x", provider.base_url), tools=[tools.source()], **ALLOWED)
    runtime = await start_runtime(document)
    whole = (await runtime.run())[2]["answer"]
    provider.script("gpt-x", thinks, streams(BEGIN, delta("stop"), usage(), DONE))
    assert (await runtime.events())[-1]["result"]["answer"] == whole == ""


async def test_demand_for_another_format_is_not_remembered_as_the_question(start_runtime, provider, standing_redis):
    provider.script("gpt-x", answers("no"), answers('{"a": 1}'), answers("fine"))
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)), store=standing_redis)
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    _, headers, body = await runtime.run({"query": "one", "response_format": form})
    assert body["answer"] == '{"a": 1}'
    await runtime.run({"query": "two", "conversation_id": headers["x-conversation-id"]})
    told = [message["content"] for message in provider.calls[-1].body["messages"]]
    assert told == ["Be kind.", "one", '{"a": 1}', "two"]


async def test_log_is_free_of_what_looks_like_a_secret(start_runtime, provider):
    runtime = await start_runtime({**document_of(endpoint_of("gpt-x", provider.base_url)), "agent": KEY})
    assert runtime.process.lines("starts")[0]["agent"] == "[redacted:apiKeys]"
    await runtime.run()
    assert KEY not in runtime.process.output()
