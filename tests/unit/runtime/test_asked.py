"""What a caller tells the model beside the question, as the text in which patterns are looked for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.asked import all_of_arguments, beside_the_question
from agent_runtime.core.loop import Message, ToolCall, ToolSpec

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def texts_of(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for name, member in value.items() for text in (name, *texts_of(member))]
        case list():
            return [text for item in value for text in texts_of(item)]
        case _:
            return []


def said(messages=(), tools=(), response_format=None) -> list[str]:
    return beside_the_question(messages, tools, response_format).split("\n")


def test_a_question_alone_has_nothing_beside_it():
    assert beside_the_question([Message("user", "What is the time?")], [], None) == ""


def test_a_call_is_told_with_its_id_its_name_and_what_its_arguments_read_as():
    call = ToolCall("call-1", "look_up", '{"place": "Z\\u00fcrich"}')

    assert said([Message("assistant", "", (call,))]) == [
        "call-1",
        "look_up",
        '{"place": "Z\\u00fcrich"}',
        "place",
        "Zürich",
    ]


def test_a_result_is_told_with_the_call_that_it_names():
    assert said([Message("tool", "12:00", tool_call_id="call-2")]) == ["call-2"]


def test_a_tool_is_told_with_its_description_and_every_text_of_its_parameters():
    tool = ToolSpec("clock.now", "clock_now", "Tells the time.", {"type": "object", "required": ["zone", {"a": "b"}]})

    assert sorted(said(tools=[tool])) == sorted(
        ["clock_now", "Tells the time.", "type", "object", "required", "zone", "a", "b"]
    )


def test_a_format_is_told_with_its_names_and_texts_and_without_its_numbers():
    assert sorted(said(response_format={"name": "answer", "strict": True, "size": 7})) == [
        "answer",
        "name",
        "size",
        "strict",
    ]


@pytest.mark.parametrize("arguments", ["", "{", '{"a": "b"', "no json"])
def test_arguments_that_are_no_json_are_told_as_they_are(arguments):
    assert all_of_arguments(arguments) == arguments


@given(json_values)
def test_nothing_in_the_arguments_of_a_call_is_hidden_by_how_it_is_escaped(value):
    arguments = json.dumps(value)

    read = all_of_arguments(arguments)

    assert read.startswith(arguments)
    assert all(text in read for text in texts_of(value))
