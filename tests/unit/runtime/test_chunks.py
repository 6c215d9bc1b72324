"""Reading of streamed chunks."""

from __future__ import annotations

import pytest

from agent_runtime.core.loop import ToolCall
from agent_runtime.llm import chunks
from agent_runtime.llm.chunks import AnswerParts, ChunkMalformed, Delta, Fragment, read_chunk
from agent_runtime.llm.client import Usage


def chunk(delta, finish_reason=None, usage=None):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], "usage": usage}


@pytest.mark.parametrize(
    ("wire", "delta"),
    [
        (chunk({"role": "assistant", "content": ""}), Delta()),
        (chunk({"content": "hi"}), Delta("hi", begins=True)),
        (chunk({"refusal": "no"}), Delta("no", begins=True)),
        (chunk({"reasoning_content": "hm"}), Delta(begins=True, thought=2)),
        (chunk({"tool_calls": [{"index": 0}]}), Delta(begins=True, fragments=(Fragment(0),))),
        (
            chunk({"tool_calls": [{"index": 1, "id": "x", "function": {"name": "f", "arguments": "{"}}]}),
            Delta(begins=True, fragments=(Fragment(1, "x", "f", "{"),)),
        ),
        (chunk({"tool_calls": None}), Delta()),
        (
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 3,
                    "completion_tokens": 4,
                    "prompt_tokens_details": {"cached_tokens": 2},
                },
            },
            Delta(usage=Usage(3, 4, 2)),
        ),
        (chunk({}, "stop"), Delta(begins=True, finish_reason="stop")),
        (chunk(None, "length"), Delta(begins=True, finish_reason="length")),
        ({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}, Delta(usage=Usage(3, 4))),
        (
            chunk({"content": "x"}, "stop", {"prompt_tokens": 1, "completion_tokens": 2}),
            Delta("x", True, "stop", Usage(1, 2)),
        ),
        ({"choices": []}, Delta()),
    ],
)
def test_chunk_is_read(wire, delta):
    assert read_chunk(wire) == delta


@pytest.mark.parametrize(
    "wire",
    [
        None,
        [],
        "text",
        {},
        {"choices": None},
        {"choices": {}},
        {"choices": ["text"]},
        chunk("text"),
        chunk({"content": 7}),
        chunk({"content": ["x"]}),
        chunk({}, 7),
        chunk({"tool_calls": {}}),
        chunk({"tool_calls": ["x"]}),
        chunk({"tool_calls": [{"index": "0"}]}),
        chunk({"tool_calls": [{"function": 7}]}),
        chunk({"tool_calls": [{"function": {"arguments": {}}}]}),
        {"choices": [], "usage": {}},
        {"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": 2}},
        {"choices": [], "usage": {"prompt_tokens": "1", "completion_tokens": 2}},
    ],
)
def test_malformed_chunk_is_refused(wire):
    with pytest.raises(ChunkMalformed):
        read_chunk(wire)


def test_answer_is_put_together_from_its_parts():
    parts = AnswerParts()
    for delta in (
        Delta(),
        Delta("Hel", begins=True),
        Delta("lo"),
        Delta(finish_reason="stop"),
        Delta(usage=Usage(1, 2)),
    ):
        parts.add(delta)
    assert (parts.text, parts.begun, parts.finish_reason, parts.usage) == ("Hello", True, "stop", Usage(1, 2))


def test_endless_answer_is_refused(monkeypatch):
    monkeypatch.setattr(chunks, "MAX_ANSWER_CHARACTERS", 5)
    parts = AnswerParts()
    parts.add(Delta("12345"))
    with pytest.raises(ChunkMalformed):
        parts.add(Delta("6"))


def test_everything_that_a_model_produces_has_a_size():
    delta = Delta("hé", fragments=(Fragment(0, "x", "look", "{}"),), thought=5)
    assert delta.size == 3 + 6 + 5


def test_tool_calls_are_put_together_by_their_index():
    parts = AnswerParts()
    fragments = (Fragment(1, "b", "two"), Fragment(0, "a", "one", '{"x"'), Fragment(0, arguments=": 1}"), Fragment(1))
    for fragment in fragments:
        parts.add(Delta(begins=True, fragments=(fragment,)))
    assert parts.tool_calls == (ToolCall("a", "one", '{"x": 1}'), ToolCall("b", "two", ""))


def test_endless_tool_calls_are_refused():
    parts = AnswerParts()
    for index in range(chunks.MAX_TOOL_CALLS):
        parts.add(Delta(fragments=(Fragment(index, "x", "f"),)))
    with pytest.raises(ChunkMalformed):
        parts.add(Delta(fragments=(Fragment(chunks.MAX_TOOL_CALLS, "x", "f"),)))


def test_endless_arguments_are_refused(monkeypatch):
    monkeypatch.setattr(chunks, "MAX_ANSWER_CHARACTERS", 5)
    with pytest.raises(ChunkMalformed):
        AnswerParts().add(Delta(fragments=(Fragment(0, "x", "f", "123456"),)))
