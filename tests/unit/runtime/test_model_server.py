"""The simulated provider: what it answers, what it calls, and when it fails."""

from __future__ import annotations

import hashlib
import json
from contextlib import asynccontextmanager

import jsonschema_rs
import pytest
from aiohttp import web
from openai import AsyncOpenAI, InternalServerError

from demo.model_server import statistics
from demo.model_server.asked import read_asked
from demo.model_server.faults import fails
from demo.model_server.server import Behaviour, create_server
from demo.model_server.statistics import OTHER_MODELS, Statistics


def test_good_model_never_fails():
    assert not any(fails("good-v1", f"request-{number}", 100) for number in range(100))


def test_bad_model_fails_by_the_hash_of_its_name_and_the_request_id():
    for number in range(200):
        share = int(hashlib.sha256(f"bad-v3\nrequest-{number}".encode()).hexdigest(), 16) % 100
        assert fails("bad-v3", f"request-{number}", 40) == (share < 40)


def test_two_bad_models_fail_independently():
    both = sum(fails("bad-1", f"request-{n}", 60) and fails("bad-2", f"request-{n}", 60) for n in range(1000))
    assert 300 < both < 420


def test_share_of_failures_is_about_the_percentage():
    assert 350 < sum(fails("bad-v3", f"request-{number}", 40) for number in range(1000)) < 450


def test_statistics_stay_bounded(monkeypatch):
    monkeypatch.setattr(statistics, "MAX_MODELS", 2)
    monkeypatch.setattr(statistics, "MAX_FAILED_IDS", 3)
    counted = Statistics()
    for number in range(10):
        counted.count(f"model-{number}", f"request-{number}", failed=True)
    assert counted.report() == {
        "calls": {"model-0": 1, "model-1": 1, OTHER_MODELS: 8},
        "failures": {"model-0": 1, "model-1": 1, OTHER_MODELS: 8},
        "failedRequests": 3,
        "failedRequestIds": ["request-7", "request-8", "request-9"],
    }


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "shop__weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "example": "Oslo"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "shop__order", "parameters": {"type": "object"}}},
]


def asked(*messages, model="good-v1", **fields):
    return read_asked({"model": model, "messages": list(messages), **fields})


def user(text):
    return {"role": "user", "content": text}


def assistant_calls(*calls):
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": call.id, "function": {"name": call.name, "arguments": call.arguments}} for call in calls],
    }


def test_answer_echoes_the_question_and_names_the_model():
    answer = asked({"role": "system", "content": "Be kind."}, user("how are you"))
    assert (answer.text, answer.finish_reason) == ("good-v1 answers: how are you", "stop")
    assert answer.usage == {
        "prompt_tokens": 5,
        "completion_tokens": 5,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def test_tool_user_asks_for_the_first_tool_and_answers_with_its_result():
    first = asked(user("what is the weather"), model="tooluser-v1", tools=TOOLS)
    (call,) = first.tool_requests
    assert (call.name, json.loads(call.arguments), first.finish_reason) == (
        "shop__weather",
        {"city": "Oslo"},
        "tool_calls",
    )
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    second = asked(user("what is the weather"), assistant_calls(call), result, model="tooluser-v1", tools=TOOLS)
    assert (second.tool_requests, second.text) == ((), "tooluser-v1 answers: sunny")


def test_tool_user_without_tools_answers():
    assert asked(user("hi"), model="tooluser-v1").text == "tooluser-v1 answers: hi"


def test_other_models_leave_tools_alone():
    assert asked(user("hi"), tools=TOOLS).tool_requests == ()


def test_question_may_tell_the_calls():
    answer = asked(user('[[call weather {"city": "Rome"}]] and [[call shop__order]] [[call nothing {]]'), tools=TOOLS)
    assert [(call.name, call.arguments) for call in answer.tool_requests] == [
        ("shop__weather", '{"city": "Rome"}'),
        ("shop__order", "{}"),
    ]
    assert len({call.id for call in answer.tool_requests}) == 2


def test_call_of_a_tool_that_was_not_offered_is_asked_for_as_told():
    (call,) = asked(user("[[call rm {}]]"), tools=TOOLS).tool_requests
    assert call.name == "rm"


def test_later_turn_finds_all_but_the_new_question_in_memory():
    history = (user("one two"), {"role": "assistant", "content": "three four"})
    assert asked(*history, user("five")).usage["prompt_tokens_details"] == {"cached_tokens": 4}


SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
    {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
    {"$ref": "#/$defs/n", "$defs": {"n": {"type": ["number", "null"]}}},
    {"anyOf": [{"const": 7}, {"type": "string"}]},
    {
        "type": "object",
        "properties": {"a": {"type": "object", "required": ["b"], "properties": {"b": {"type": "null"}}}},
    },
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_structured_answer_is_of_the_schema(schema):
    answer = asked(user("hi"), response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert jsonschema_rs.is_valid(schema, json.loads(answer.text))


def test_json_object_answer_holds_the_echo():
    assert json.loads(asked(user("hi"), response_format={"type": "json_object"}).text) == {
        "answer": "good-v1 answers: hi"
    }


@pytest.mark.parametrize(
    "body", [{}, {"model": "m"}, {"model": 1, "messages": [user("x")]}, {"model": "m", "messages": []}, [], "x"]
)
def test_what_is_no_request_is_refused(body):
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        read_asked(body)


@pytest.mark.parametrize("stream", [True, False])
async def test_openai_client_gets_tool_calls_and_usage(stream):
    async with served_model() as client:
        options = {"model": "tooluser-v1", "messages": [user("hi")], "tools": TOOLS}
        if stream:
            async with client.chat.completions.stream(**options, stream_options={"include_usage": True}) as events:
                completion = await events.get_final_completion()
        else:
            completion = await client.chat.completions.create(**options)
    (choice,) = completion.choices
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "shop__weather")
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    assert completion.usage.prompt_tokens == 1
    assert completion.usage.prompt_tokens_details.cached_tokens == 0


async def test_failures_and_counts_are_those_of_the_hash():
    async with served_model(Behaviour(bad_percent=40, latency_seconds=0)) as client:
        for number in range(30):
            failed = False
            try:
                await client.chat.completions.create(
                    model="bad-v3", messages=[user("hi")], extra_headers={"x-request-id": f"request-{number}"}
                )
            except InternalServerError:
                failed = True
            assert failed == fails("bad-v3", f"request-{number}", 40)
        stats = await client.get("http://" + client.base_url.netloc.decode() + "/stats", cast_to=object)
    expected = [f"request-{number}" for number in range(30) if fails("bad-v3", f"request-{number}", 40)]
    assert (stats["calls"], stats["failedRequestIds"]) == ({"bad-v3": 30}, expected)


@asynccontextmanager
async def served_model(behaviour=None):
    runner = web.AppRunner(create_server(behaviour or Behaviour(latency_seconds=0)))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    async with AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, timeout=10) as client:
        yield client
    await runner.cleanup()
