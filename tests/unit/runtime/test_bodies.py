"""What is told of a body that cannot be read: in the words of the API, and never in those of a library."""

from __future__ import annotations

import json

import pytest
from starlette.requests import Request

from agent_runtime.errors import Problem
from agent_runtime.routes.body import read_body
from agent_runtime.routes.chat_wire import ChatRequest
from agent_runtime.routes.task_wire import ApprovalRequest
from agent_runtime.routes.wire import RunRequest

USER = {"role": "user", "content": "hi"}


async def read(content, model=RunRequest, **headers):
    async def receive():
        return {"type": "http.request", "body": content, "more_body": False}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return await read_body(Request({"type": "http", "method": "POST", "headers": raw}, receive), model)


async def refused(content, model=RunRequest, **headers):
    with pytest.raises(Problem) as problem:
        await read(content if isinstance(content, bytes) else json.dumps(content).encode(), model, **headers)
    return problem.value


async def errors_of(content, model=RunRequest):
    problem = await refused(content, model)
    assert problem.status == 400
    return [(error["field"], error["message"]) for error in problem.document()["errors"]]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "x-secret", "identity, gzip"])
async def test_body_that_is_compressed_is_refused_by_its_encoding(coding):
    problem = await refused(b"\x1f\x8b\x08", content_encoding=coding)
    assert (problem.status, problem.type) == (415, "unsupported-media-type")
    assert problem.detail == f"content-encoding: {coding} is not understood; send the body as it is."
    assert problem.response().headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
async def test_body_that_is_sent_as_it_is_is_read(coding):
    assert (await read(b'{"query": "hi"}', content_encoding=coding)).query == "hi"


@pytest.mark.parametrize(
    ("model", "fields"), [(RunRequest, "query"), (ChatRequest, "messages"), (ApprovalRequest, "decision")]
)
async def test_body_that_is_no_object_is_told_what_it_must_be(model, fields):
    for content in ([], "x", 7, None):
        assert await errors_of(content, model) == [("", f"The body must be a JSON object with {fields}")]


@pytest.mark.parametrize("content", [b"", b" \r\n"])
async def test_empty_body_is_told_to_be_empty(content):
    assert await errors_of(content) == [("", "The body is empty; it must be a JSON object with query")]


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
async def test_part_that_is_no_text_is_told_by_its_kind_alone(kind):
    parts = [{"type": "text", "text": "See."}, {"type": kind, kind: {"url": "x"}}]
    body = {"messages": [{"role": "user", "content": parts}]}
    told = f"{kind} is not understood; only text parts are"
    assert await errors_of(body, ChatRequest) == [("messages.0.content.1.type", told)]


@pytest.mark.parametrize("kind", ["my card is 4111", "x" * 41, 7, None, ["text"]])
async def test_kind_of_a_part_that_may_be_anything_is_not_repeated(kind):
    body = {"messages": [{"role": "user", "content": [{"type": kind, "text": "x"}]}]}
    told = "this type is not understood; only text parts are"
    assert await errors_of(body, ChatRequest) == [("messages.0.content.0.type", told)]


@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        (
            {"messages": [{**USER, "content": 7}]},
            "messages.0.content",
            "Input should be a text or a list of text parts",
        ),
        (
            {"messages": [{**USER, "content": "x" * 100_001}]},
            "messages.0.content",
            "String should have at most 100000 characters",
        ),
        ({"messages": [{**USER, "content": [{"type": "text"}]}]}, "messages.0.content.0.text", "Field required"),
        ({"messages": [{**USER, "content": ["x"]}]}, "messages.0.content.0", "Input should be an object"),
        ({"tool_choice": 7}, "tool_choice", "Input should be a text or an object"),
        ({"function_call": []}, "function_call", "Input should be a text or an object"),
        ({"stop": {}}, "stop", "Input should be a text or a list of texts"),
        ({"stop": ["a", 7]}, "stop.1", "Input should be a valid string"),
        ({"tools": [{"type": "retrieval"}]}, "tools.0.type", "Input should be 'function'"),
    ],
)
async def test_field_of_several_types_is_told_once_and_by_its_own_path(change, field, message):
    assert await errors_of({"messages": [USER], **change}, ChatRequest) == [(field, message)]


async def test_number_that_no_model_can_be_sent_is_told_without_a_librarys_words():
    (error,) = await errors_of(b'{"query": "hi", "response_format": {"minimum": NaN}}')
    assert error[0] == "response_format"
    assert error[1].startswith("numbers must be finite")


async def test_unknown_field_is_told_by_its_name_whatever_that_is():
    assert [field for field, _ in await errors_of({"query": "hi", "(text)": 1})] == ["(text)"]
