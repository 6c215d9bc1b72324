"""The simulated model asks for tools in steps."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo.model_server.asked import read_asked

TOOLS = [{"type": "function", "function": {"name": "shop__wait"}}]
QUESTION = {"role": "user", "content": '[[call wait {"s": 1}]] [[call wait {"s": 2}]] [[then]] [[call wait {"s": 3}]]'}


def _step(messages: list[dict[str, Any]]) -> list[int]:
    """Ask, and append the calls and their results as an agent does; returns the calls' arguments."""
    asked = read_asked({"model": "good-1", "messages": messages, "tools": TOOLS})
    calls = [{"id": call.id, "function": {"arguments": call.arguments}} for call in asked.tool_requests]
    if calls:
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": call["id"], "content": "done"} for call in calls]
    else:
        messages.append({"role": "assistant", "content": asked.text})
    return [json.loads(call.arguments)["s"] for call in asked.tool_requests]


def test_each_step_is_asked_for_once_the_one_before_ended() -> None:
    messages = [{"role": "system", "content": "You answer."}, QUESTION]
    assert [_step(messages) for _ in range(3)] == [[1, 2], [3], []]
    assert messages[-1]["content"] == "good-1 answers: done"


def test_the_next_question_begins_at_its_first_step() -> None:
    messages = [QUESTION]
    while _step(messages):
        pass
    messages.append(QUESTION)
    assert _step(messages) == [1, 2]


def test_a_question_of_one_step_asks_once() -> None:
    messages = [{"role": "user", "content": '[[call wait {"s": 1}]]'}]
    assert [_step(messages) for _ in range(2)] == [[1], []]


@pytest.mark.parametrize(
    ("model", "question", "seconds"),
    [("good-1", "hello", 0), ("good-1", "think [[wait 240]] please", 240), ("mute-1", "hello", 3600)],
)
def test_a_model_is_silent_as_it_is_asked_to_or_called(model, question, seconds):
    asked = read_asked({"model": model, "messages": [{"role": "user", "content": question}]})
    assert asked.wait_seconds == seconds
