"""The `openai` client, unmodified: only its base URL is the agent's."""

from __future__ import annotations

import json

import openai
import pytest
from pydantic import BaseModel

LOOKUP = {
    "type": "function",
    "function": {
        "name": "lookup",
        "description": "Look a parcel up.",
        "parameters": {"type": "object", "properties": {"parcel": {"type": "string"}}, "required": ["parcel"]},
    },
}
ASKS_FOR_LOOKUP = 'Where is it? [[call lookup {"parcel": "p-7"}]]'
ASKS_FOR_ORDER = 'What of order 17? [[call getOrder {"order_id": "17"}]]'


class Parcel(BaseModel):
    """What an answer is to look like."""

    number: int
    place: str


def ask(client, text="Hello", **options):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="support", messages=messages, **options)


@pytest.fixture
async def async_client(agent):
    async with openai.AsyncOpenAI(base_url=f"{agent.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_answer_comes_with_its_usage_and_the_agents_name(client):
    answer = ask(client)
    assert answer.choices[0].message.content == "good-v1 answers: Hello"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "support"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_agent_is_the_one_model_of_the_list(client):
    assert [model.id for model in client.models.list()] == ["support"]


async def test_async_client_is_answered(async_client):
    answer = await ask(async_client)
    assert answer.choices[0].message.content == "good-v1 answers: Hello"


def test_stream_brings_the_same_text_in_parts_and_ends_with_a_reason(client):
    chunks = list(ask(client, "Hello out there", stream=True))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == "good-v1 answers: Hello out there"
    assert len([text for text in texts if text]) > 1
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


async def test_async_stream_brings_the_same_text(async_client):
    stream = await ask(async_client, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "good-v1 answers: Hello"


def test_stream_tells_usage_last_where_it_is_asked_for(client):
    *chunks, last = ask(client, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.total_tokens > 0
    assert all(chunk.usage is None for chunk in chunks)


def test_call_of_the_clients_tool_comes_back_and_its_result_is_answered(client):
    question = {"role": "user", "content": ASKS_FOR_LOOKUP}
    first = client.chat.completions.create(model="support", messages=[question], tools=[LOOKUP])
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("lookup", {"parcel": "p-7"})
    result = {"role": "tool", "tool_call_id": call.id, "content": "It is in Rome."}
    messages = [question, first.choices[0].message, result]
    second = client.chat.completions.create(model="support", messages=messages, tools=[LOOKUP])
    assert second.choices[0].message.content == "good-v1 answers: It is in Rome."
    assert second.choices[0].finish_reason == "stop"


def test_streamed_call_of_the_clients_tool_is_put_together_by_the_client(client):
    messages = [{"role": "user", "content": ASKS_FOR_LOOKUP}]
    with client.chat.completions.stream(model="support", messages=messages, tools=[LOOKUP]) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert [call.function.arguments for call in message.tool_calls] == ['{"parcel": "p-7"}']


def test_agents_own_tool_runs_within_the_agent(client, tool_server):
    before = tool_server.get("/stats")["counts"].get("getOrder", 0)
    answer = ask(client, ASKS_FOR_ORDER)
    assert tool_server.get("/stats")["counts"]["getOrder"] == before + 1
    assert answer.choices[0].finish_reason == "stop"
    assert not answer.choices[0].message.tool_calls
    assert "17" in answer.choices[0].message.content


def test_agents_own_tool_runs_beside_one_of_the_client(client):
    answer = ask(client, ASKS_FOR_ORDER, tools=[LOOKUP])
    assert not answer.choices[0].message.tool_calls
    assert "17" in answer.choices[0].message.content


def test_answer_is_parsed_by_the_schema_that_the_client_asked_for(client):
    messages = [{"role": "user", "content": "Where is it?"}]
    answer = client.chat.completions.parse(model="support", messages=messages, response_format=Parcel)
    assert isinstance(answer.choices[0].message.parsed, Parcel)


def test_raw_response_names_revision_conversation_and_outcome(client):
    messages = [{"role": "user", "content": "Hello"}]
    raw = client.chat.completions.with_raw_response.create(model="support", messages=messages)
    assert raw.headers["x-greylag-outcome"] == "ok"
    assert raw.headers["x-conversation-id"].startswith(raw.headers["x-greylag-revision"])


def test_answer_says_in_its_headers_what_it_cost_and_which_model_answered(start_agent, connect):
    price = {"inputPerMillion": "1", "outputPerMillion": "1"}
    client = connect(start_agent(price=price))
    messages = [{"role": "user", "content": "Hello"}]
    raw = client.chat.completions.with_raw_response.create(model="support", messages=messages)
    spent = raw.parse().usage.total_tokens
    assert raw.headers["x-greylag-model"] == "good-v1"
    assert float(raw.headers["x-greylag-cost-usd"]) == pytest.approx(spent / 1e6)


def test_model_whose_name_no_header_can_hold_answers_all_the_same(start_agent, connect):
    client = connect(start_agent(model="good-mod\u00e8le \u2713"))
    raw = client.chat.completions.with_raw_response.create(
        model="support", messages=[{"role": "user", "content": "Hello"}]
    )
    assert raw.parse().choices[0].message.content.endswith("answers: Hello")
    assert "x-greylag-model" not in raw.headers
