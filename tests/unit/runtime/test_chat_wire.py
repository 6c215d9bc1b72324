"""The OpenAI protocol to and from what a run knows, and what a body may hold at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent_runtime.agent import Answer
from agent_runtime.core.loop import Message, ToolCall, ToolSpec
from agent_runtime.llm.client import Run
from agent_runtime.routes import chat_checks
from agent_runtime.routes.chat_wire import (
    ChatRequest,
    call_delta,
    chunk,
    completion,
    finish_reason,
    usage_chunk,
    usage_document,
)
from agent_runtime.routes.wire import RunRequest, body_of, inlined_schema

USER = {"role": "user", "content": "hi"}
CALL = {"id": "call-1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": {"type": "object"}}}


def read(**changes):
    return ChatRequest.model_validate_json(json.dumps({"messages": [USER], **changes}))


def wrong_fields(content, model=ChatRequest):
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(content)
    return {".".join(map(str, error["loc"])) for error in refused.value.errors()}


def answer_of(text="Hello", reason="stop", *calls):
    return Answer(text, "gpt-x", reason, (), (), 1, client_calls=calls)


@pytest.mark.parametrize(
    ("message", "read_as"),
    [
        (USER, Message("user", "hi")),
        ({"role": "system", "content": "Obey."}, Message("user", "Obey.")),
        ({"role": "developer", "content": "Obey."}, Message("user", "Obey.")),
        ({"role": "assistant", "content": "Hello"}, Message("assistant", "Hello")),
        (
            {"role": "assistant", "tool_calls": [CALL]},
            Message("assistant", "", (ToolCall("call-1", "look", '{"a": 1}'),)),
        ),
        ({"role": "tool", "content": "1", "tool_call_id": "call-1"}, Message("tool", "1", tool_call_id="call-1")),
        ({"role": "tool", "content": None}, Message("tool", "", tool_call_id="")),
        (
            {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            Message("user", "one\ntwo"),
        ),
    ],
)
def test_message_is_read(message, read_as):
    assert read(messages=[message]).run_messages() == (read_as,)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [USER] * 1001}, "messages"),
        ({"messages": [{"role": "root", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"n": 2}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": 0}}, "stream_options.include_usage"),
        ({"user": ""}, "user"),
        ({"tools": [{"type": "function", "function": {"name": "no spaces"}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "retrieval"}]}, "tools.0.type"),
    ],
)
def test_what_cannot_be_done_is_refused_by_field(change, field):
    assert any(name.startswith(field) for name in wrong_fields(json.dumps({"messages": [USER], **change})))


def test_fields_that_are_the_agents_to_decide_break_nothing():
    body = read(model="gpt-9", temperature=2.0, max_tokens=10**9, logit_bias={}, store=True, metadata={"a": "b"})
    assert body.run_messages() == (Message("user", "hi"),)


@pytest.mark.parametrize("field", ["stream", "user", "n", "tools", "response_format", "stream_options"])
def test_null_stands_for_a_field_that_is_not_there(field):
    assert getattr(read(**{field: None}), field) is None


def test_tools_of_the_client_are_told_to_the_model_as_they_are():
    assert read(tools=[TOOL]).client_tools() == (ToolSpec("look", "look", "Look.", {"type": "object"}),)
    bare = {"type": "function", "function": {"name": "look"}}
    assert read(tools=[bare]).client_tools()[0].parameters == {"type": "object", "properties": {}}
    assert read().client_tools() == ()


def test_none_as_choice_keeps_the_clients_tools_from_the_model():
    assert read(tools=[TOOL], tool_choice="none").client_tools() == ()
    assert len(read(tools=[TOOL], tool_choice="auto").client_tools()) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "look"}}}, "tool_choice"),
        ({"functions": [{"name": "look"}]}, "functions"),
        ({"function_call": {"name": "look"}}, "function_call"),
        ({"stop": "\n"}, "stop"),
        ({"stop": ["\n"]}, "stop"),
        ({"messages": [{"role": "tool", "content": "1", "tool_call_id": "x"}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [CALL]}, USER]}, "messages.0.tool_calls"),
        ({"tools": [TOOL, TOOL]}, "tools.1.function.name"),
    ],
)
def test_what_no_agent_follows_is_refused_by_field(change, field):
    assert [name for name, _ in chat_checks.wrong_fields(read(**change), ())] == [field]


NO_CONTENT = [{}, {"content": None}, {"content": []}]


@pytest.mark.parametrize("nothing", [*NO_CONTENT, {"content": ""}, {"content": [{"type": "text", "text": ""}]}])
def test_question_without_content_is_refused_by_field(nothing):
    body = read(messages=[USER, {"role": "user", **nothing}])
    wrong = "A message of role user needs content: a text or a list of text parts"
    assert list(chat_checks.wrong_fields(body, ())) == [("messages.1.content", wrong)]


@pytest.mark.parametrize("nothing", NO_CONTENT)
@pytest.mark.parametrize("role", ["system", "developer", "tool"])
def test_other_message_without_content_is_refused_by_field(nothing, role):
    calls = {"role": "assistant", "tool_calls": [CALL]}
    message = {"role": role, "tool_call_id": "call-1", **nothing}
    body = read(messages=[calls, message, USER] if role == "tool" else [message, USER])
    assert [name for name, _ in chat_checks.wrong_fields(body, ())] == [f"messages.{int(role == 'tool')}.content"]


@pytest.mark.parametrize("nothing", NO_CONTENT)
def test_answer_without_content_is_one_that_asks_for_tools(nothing):
    bare = {"role": "assistant", **nothing}
    result = {"role": "tool", "tool_call_id": "call-1", "content": ""}
    assert list(chat_checks.wrong_fields(read(messages=[{**bare, "tool_calls": [CALL]}, result]), ())) == []
    assert [name for name, _ in chat_checks.wrong_fields(read(messages=[bare, USER]), ())] == ["messages.0.content"]


def test_answer_and_instructions_may_be_empty_texts():
    messages = [{"role": role, "content": ""} for role in ("system", "developer", "assistant")]
    assert list(chat_checks.wrong_fields(read(messages=[*messages, USER]), ())) == []


def test_answer_without_a_text_can_be_sent_back():
    message = completion(answer_of(""), None, "r", "support")["choices"][0]["message"]
    assert message["content"] == ""
    assert list(chat_checks.wrong_fields(read(messages=[USER, message, USER]), ())) == []


@pytest.mark.parametrize(
    "change", [{}, {"tool_choice": "auto"}, {"tool_choice": None, "functions": [], "function_call": "none", "stop": []}]
)
def test_what_asks_for_nothing_is_refused_by_nobody(change):
    assert list(chat_checks.wrong_fields(read(**change), ())) == []


def test_answer_is_a_completion_with_the_usage_of_the_whole_run():
    run = Run("r", 0.0, input_tokens=30, output_tokens=4)
    document = completion(answer_of(), run, "r", "support")
    assert (document["object"], document["model"], document["id"]) == ("chat.completion", "support", "chatcmpl-r")
    (choice,) = document["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello"}
    assert (choice["finish_reason"], choice["index"]) == ("stop", 0)
    assert document["usage"] == {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34}
    assert usage_document(None)["total_tokens"] == 0


def test_call_of_a_clients_tool_is_told_whole_and_as_a_delta():
    call = ToolCall("c00100000", "look", "{}")
    wire = {"id": "c00100000", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    document = completion(answer_of("", "tool_calls", call), None, "r", "support")
    assert document["choices"][0]["message"] == {"role": "assistant", "content": None, "tool_calls": [wire]}
    assert call_delta(answer_of("", "tool_calls", call, call)) == {
        "tool_calls": [{"index": 0, **wire}, {"index": 1, **wire}]
    }


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
    ],
)
def test_reason_is_one_of_the_protocols(reason, told):
    assert finish_reason(answer_of(reason=reason)) == told


def test_parts_of_a_stream_are_chunks():
    part = chunk("r", "support", {"content": "He"})
    assert (part["object"], part["choices"][0]["delta"]) == ("chat.completion.chunk", {"content": "He"})
    assert part["choices"][0]["finish_reason"] is None
    last = usage_chunk("r", "support", Run("r", 0.0, input_tokens=1, output_tokens=2))
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 3)


@pytest.mark.parametrize("number", ["1" * 30, "-" + "9" * 20, "NaN", "Infinity", "-Infinity"])
def test_number_that_no_model_can_be_sent_is_refused_by_field(number):
    wanted = f'{{"type": "json_schema", "json_schema": {{"schema": {{"maximum": {number}}}}}}}'
    assert wrong_fields(f'{{"query": "hi", "response_format": {wanted}}}', RunRequest) == {"response_format"}
    chat = f'{{"messages": [{{"role": "user"}}], "response_format": {wanted}}}'
    assert wrong_fields(chat) == {"response_format"}
    tool = f'{{"type": "function", "function": {{"name": "look", "parameters": {{"maximum": {number}}}}}}}'
    assert wrong_fields(f'{{"messages": [{{"role": "user"}}], "tools": [{tool}]}}') == {"tools.0.function.parameters"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_every_other_json_is_taken_as_it_is(value):
    body = RunRequest.model_validate({"query": "hi", "response_format": value})
    assert body.response_format == value


@pytest.mark.parametrize("model", [ChatRequest, RunRequest])
def test_page_of_the_api_needs_no_definitions_from_elsewhere(model):
    text = json.dumps(body_of(model))
    assert "$ref" not in text
    assert "$defs" not in text


def test_part_that_is_described_where_it_is_used_keeps_its_description():
    options = inlined_schema(ChatRequest)["properties"]["stream_options"]["anyOf"][0]
    assert options["properties"]["include_usage"]["type"] == "boolean"
    message = inlined_schema(ChatRequest)["properties"]["messages"]["items"]
    assert message["properties"]["role"]["enum"][0] == "system"
