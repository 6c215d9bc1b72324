"""What the guard in front of the caller holds of an answer that broke off."""

from __future__ import annotations

import gc
import weakref

import pytest

from agent_api.conversation import ConversationId
from agent_api.runtime_document import GuardsDocument
from agent_runtime.core.conversations import Turn
from agent_runtime.core.events import TextDelta, UsageReported
from agent_runtime.guarded_emit import GuardedEmit
from agent_runtime.guards.output import HELD_CHARACTERS, OutputGuard
from agent_runtime.llm.client import Run
from agent_runtime.record import RunRecord
from agent_runtime.telemetry.metrics import RuntimeMetrics

REVISION = "support-5c9f0a1b2d"
LONG = "word " * HELD_CHARACTERS
USAGE = UsageReported("gpt-x", 1, 1, None)


@pytest.fixture
def run():
    return Run("request-1", 0.0)


@pytest.fixture
def seen():
    return []


@pytest.fixture
def emit(run, seen):
    async def sink(event):
        seen.append(event)

    record = RunRecord(Turn(ConversationId(REVISION, 0, "a"), first=True), 1, 0.0, run=run)
    guard = OutputGuard(GuardsDocument(blocked_output=("zzz",)))
    return GuardedEmit(sink, record, guard, RuntimeMetrics(REVISION, lambda: 0))


def texts(seen):
    return "".join(event.text for event in seen if isinstance(event, TextDelta))


async def test_text_that_was_held_back_is_dropped_and_the_next_answer_stands_alone(emit, run, seen):
    await emit(TextDelta("Half of an ans"))
    assert run.take_back()
    await emit(TextDelta("All of it"))
    assert await emit.finish() == texts(seen) == "All of it"


async def test_text_of_which_a_part_was_shown_is_not_taken_back(emit, run, seen):
    await emit(TextDelta(LONG))
    assert texts(seen)
    assert not run.take_back()
    assert await emit.finish() == texts(seen) == LONG


async def test_text_of_an_earlier_model_call_does_not_count(emit, run, seen):
    await emit(TextDelta(LONG))
    await emit(USAGE)
    await emit(TextDelta("Half"))
    assert run.take_back()
    await emit(TextDelta("Rest"))
    assert await emit.finish() == "Rest"
    assert texts(seen) == LONG + "Rest"


def test_text_that_nobody_guards_cannot_be_taken_back():
    assert not Run("request-1", 0.0).take_back()


async def test_run_that_ended_is_not_left_to_the_collector(run):
    async def sink(_event):
        pass

    guard = OutputGuard(GuardsDocument(blocked_output=("zzz",)))
    record = RunRecord(Turn(ConversationId(REVISION, 0, "a"), first=True), 1, 0.0, run=run)
    emit = GuardedEmit(sink, record, guard, RuntimeMetrics(REVISION, lambda: 0))
    await emit(TextDelta("Half"))
    ended = weakref.ref(emit)
    gc.disable()
    try:
        del emit, record
        assert ended() is None
    finally:
        gc.enable()
