"""Reading of streamed chunks."""

from __future__ import annotations

import pytest

from agent_runtime.llm import chunks
from agent_runtime.llm.chunks import AnswerParts, ChunkMalformed, Delta, read_chunk
from agent_runtime.llm.client import Usage


def chunk(delta, finish_reason=None, usage=None):
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], "usage": usage}


@pytest.mark.parametrize(
    ("wire", "delta"),
    [
        (chunk({"role": "assistant", "content": ""}), Delta()),
        (chunk({"content": "hi"}), Delta("hi", begins=True)),
        (chunk({"refusal": "no"}), Delta("no", begins=True)),
        (chunk({"reasoning_content": "hm"}), Delta(begins=True)),
        (chunk({"tool_calls": [{"index": 0}]}), Delta(begins=True)),
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
