"""How far a task has come, from what is kept of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.loop import Message, ToolCall
from agent_runtime.core.messages import call_document, call_of, message_document, message_of
from agent_runtime.core.progress import Progress
from agent_runtime.core.task_state import Step, TaskState, progress_document, progress_of, unknown_calls

IDS = st.text(max_size=8)
CALLS = st.builds(ToolCall, IDS, IDS, st.text())
MESSAGES = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.text(),
    st.lists(CALLS, max_size=3).map(tuple),
    st.none() | IDS,
)
PROGRESS = st.builds(
    Progress,
    st.lists(MESSAGES, min_size=1, max_size=4).map(tuple),
    st.integers(0, 100),
    st.frozensets(IDS, max_size=3),
    st.dictionaries(IDS, st.text(), max_size=3),
    st.integers(0, 100),
    st.dictionaries(st.integers(-1, 20), st.integers(1, 100), max_size=3),
)
ASKED = Progress(
    (
        Message("user", "hi"),
        Message("assistant", "", tuple(ToolCall(name, name, "{}") for name in ("read", "send", "list"))),
    ),
    iterations=1,
)


def kept(document):
    return json.loads(json.dumps(document))


@pytest.mark.parametrize("state", list(TaskState))
def test_three_states_are_for_good(state):
    assert state.terminal == (state in {"Succeeded", "Failed", "Cancelled"})


@given(MESSAGES)
def test_message_comes_back_from_its_document(message):
    assert message_of(kept(message_document(message))) == message


@given(CALLS)
def test_call_comes_back_from_its_document(call):
    assert call_of(kept(call_document(call))) == call


@given(PROGRESS)
def test_progress_comes_back_from_its_document(progress):
    assert progress_of(kept(progress_document(progress)), Step()) == progress


def test_what_was_noted_since_is_a_part_of_the_progress():
    step = Step(started={"read": 0, "send": 2}, results={"read": "found"})
    assert progress_of(progress_document(ASKED), step) == replace(
        ASKED,
        started=frozenset({"read", "send"}),
        results={"read": "found"},
        tool_calls=2,
        calls_by_rule={0: 1, 2: 1},
    )


def test_call_that_was_kept_and_noted_is_counted_once():
    before = replace(ASKED, started=frozenset({"read"}), results={"read": "found"}, tool_calls=1, calls_by_rule={2: 1})
    step = Step(started={"read": 2, "send": 2}, results={"read": "found"})
    after = progress_of(progress_document(before), step)
    assert after.tool_calls == 2
    assert after.calls_by_rule == {2: 2}


@pytest.mark.parametrize(
    ("started", "ended", "idempotent", "unknown"),
    [
        ((), (), (), ()),
        (("read",), (), (), ("read",)),
        (("read",), (), ("read",), ()),
        (("read",), ("read",), (), ()),
        (("read", "send", "list"), ("read",), ("list",), ("send",)),
    ],
)
def test_calls_that_began_and_did_not_end_are_unknown_unless_they_may_be_repeated(started, ended, idempotent, unknown):
    progress = replace(ASKED, started=frozenset(started), results=dict.fromkeys(ended, "x"))
    assert unknown_calls(progress, lambda call: call.name in idempotent) == frozenset(unknown)


def test_task_that_never_began_has_no_unknown_calls():
    assert unknown_calls(None, lambda _call: False) == frozenset()
