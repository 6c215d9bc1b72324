"""How a task's run is repeated, given back, and counted."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest

from agent_api.observations import Outcome
from agent_runtime import task_runs
from agent_runtime.clock import SteadyClock
from agent_runtime.core.booking import Ledger
from agent_runtime.core.conversation_ids import ConversationIds
from agent_runtime.core.progress import NoJournal
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.failures import Failure, failure_of_limit, failure_of_store
from agent_runtime.limits.admission import Limited
from agent_runtime.record import RunBook
from agent_runtime.routes.call import unwatched
from agent_runtime.runs import RunFailed
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.task_runs import TaskRuns
from agent_runtime.tasks.runner import Broken, Task
from agent_runtime.tasks.session import LeaseLost
from agent_runtime.telemetry.metrics import RuntimeMetrics

REVISION = "support-5c9f0a1b2d"
BROKEN = Failure(Problem(ProblemType.MODEL_UNAVAILABLE, HTTPStatus.BAD_GATEWAY, "no"), Outcome.ERROR)
LIMITED = failure_of_limit(Limited("concurrency", 0.01))


class Desk:
    """Raises what it was given, one after the other."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.askers = []

    async def answer(self, _question, asker, *_):
        self.askers.append(asker)
        raise self.errors.pop(0)


@pytest.fixture
def book():
    ledger = Ledger("pod-1", REVISION, 0.0, 60.0)
    return RunBook(ledger, SteadyClock(), RuntimeMetrics(REVISION, lambda: 0), REVISION)


@pytest.fixture
def counted(book):
    """How many runs were booked, and how many of them as errors."""

    def count():
        slots = book._ledger.observations(SteadyClock().now()).slots
        return sum(slot.requests for slot in slots), sum(slot.failures for slot in slots)

    return count


def run(book, *errors, run_id=""):
    desk = Desk(*errors)
    runs = TaskRuns(desk, book, None, ConversationIds(REVISION, (b"k" * 32,)))
    task = Task("t" * 24, "ann", REVISION, {"query": "hi"}, 1, 60.0, request_id="r", run_id=run_id)
    nothing = frozenset()
    return desk, runs.run(task, None, NoJournal(), unwatched, nothing, nothing, nothing)


async def test_failed_run_is_the_tasks_end_and_an_error(book, counted):
    _, going = run(book, RunFailed(BROKEN))
    end = await going
    assert isinstance(end, Broken)
    assert end.problem["type"].endswith("model-unavailable")
    assert counted() == (1, 1)


async def test_run_that_is_not_let_in_is_tried_again(book, counted, monkeypatch):
    monkeypatch.setattr(task_runs, "_SHORTEST_WAIT_SECONDS", 0.0)
    desk, going = run(book, RunFailed(LIMITED), RunFailed(LIMITED), RunFailed(BROKEN))
    assert isinstance(await going, Broken)
    assert len(desk.askers) == 3
    assert counted() == (1, 1)


async def test_run_without_the_store_is_left_to_whoever_takes_the_task_next(book, counted):
    _, going = run(book, RunFailed(failure_of_store("The conversation")))
    with pytest.raises(StoreUnavailable):
        await going
    assert counted() == (0, 0)


@pytest.mark.parametrize("error", [LeaseLost("t"), StoreUnavailable("away"), asyncio.CancelledError()])
async def test_task_that_others_go_on_with_counts_as_nothing(book, counted, error):
    _, going = run(book, error)
    with pytest.raises(type(error)):
        await going
    assert counted() == (0, 0)


async def test_fault_of_ours_is_an_error(book, counted):
    _, going = run(book, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await going
    assert counted() == (1, 1)


@pytest.mark.parametrize(("given", "expected"), [("", "t" * 24), ("run-1", "run-1")])
async def test_run_of_a_task_is_named_alike_at_every_pod(book, given, expected):
    desk, going = run(book, RunFailed(BROKEN), run_id=given)
    await going
    assert desk.askers[0].run_id == expected
