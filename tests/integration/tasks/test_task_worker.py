"""What a worker does with tasks: with real Redis, and runners that do as told."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_runtime.core.events import ApprovalRequired, Completed, RunStarted, TextDelta, ToolCalled, ToolEnded
from agent_runtime.core.task_state import TaskState
from agent_runtime.store.connection import StoreUnavailable
from agent_runtime.tasks.records import Decision
from agent_runtime.tasks.runner import Broken, Finished, Waiting
from agent_runtime.tasks.store import ProgressTooLarge, TaskStore

OTHER = "support-77aa01e4c3"


class Runner:
    """A runner made of one coroutine function, that keeps what it was asked."""

    def __init__(self, work):
        self._work = work
        self.asked = []
        self.inside = 0
        self.most_inside = 0

    async def run(self, task, progress, journal, emit, approved, rejected, unknown):
        self.asked.append((task, progress, approved, rejected, unknown))
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            return await self._work(task, progress, journal, emit)
        finally:
            self.inside -= 1


async def for_ever(*_):
    await asyncio.Event().wait()


async def test_task_runs_to_its_result(tasks, order, start_worker, until_state, all_events):
    async def answer(task, progress, journal, emit):
        await emit(RunStarted("r", "c", task.revision))
        for part in ("Hel", "lo ", "you"):
            await emit(TextDelta(part))
        await emit(Completed({"answer": "twice"}))
        return Finished({"answer": "Hello you"})

    task_id = (await tasks.create(order())).task_id
    worker = start_worker(Runner(answer))
    view = await until_state(task_id, TaskState.SUCCEEDED)
    assert view.result == {"answer": "Hello you"}
    events = [event.document for event in await all_events(task_id)]
    assert [event["type"] for event in events] == ["task.queued", "task.started", "run.started", "delta", "completed"]
    assert events[3]["text"] == "Hello you"
    assert worker.alive


async def test_poke_starts_a_task_at_once(tasks, order, start_worker, until_state, until):
    async def answer(*_):
        return Finished({})

    worker = start_worker(Runner(answer))

    async def resting():
        return worker.alive and await tasks._store.client.zcard(tasks._sets[3])

    await until(resting)
    took = []
    for _ in range(5):
        began = time.monotonic()
        task_id = (await tasks.create(order())).task_id
        worker.poke()
        await until_state(task_id, TaskState.SUCCEEDED)
        took.append(time.monotonic() - began)
    assert min(took) < 0.2


async def test_pod_runs_no_more_at_once_than_it_may(tasks, order, start_worker, until_state):
    async def answer(*_):
        await asyncio.sleep(0.02)
        return Finished({})

    made = [(await tasks.create(order())).task_id for _ in range(20)]
    runner = Runner(answer)
    start_worker(runner, concurrency=3)
    for task_id in made:
        await until_state(task_id, TaskState.SUCCEEDED)
    assert runner.most_inside == 3


async def test_failure_is_the_tasks_problem(tasks, order, start_worker, until_state):
    async def fail(*_):
        return Broken({"type": "urn:greylag:problem:model-unavailable"})

    task_id = (await tasks.create(order())).task_id
    start_worker(Runner(fail))
    view = await until_state(task_id, TaskState.FAILED)
    assert view.problem == {"type": "urn:greylag:problem:model-unavailable"}


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (RuntimeError("secret-in-the-message"), "internal"),
        (ExceptionGroup("g", [RuntimeError("x")]), "internal"),
        (ProgressTooLarge("9 bytes"), "task-too-large"),
        (ExceptionGroup("g", [ProgressTooLarge("9 bytes")]), "task-too-large"),
    ],
)
async def test_what_a_run_raises_fails_the_task_and_not_the_worker(
    tasks, order, start_worker, until_state, error, problem
):
    async def stumble(*_):
        raise error

    task_id = (await tasks.create(order())).task_id
    worker = start_worker(Runner(stumble))
    view = await until_state(task_id, TaskState.FAILED)
    assert view.problem["type"] == f"urn:greylag:problem:{problem}"
    assert "secret" not in str(view.problem)
    assert worker.alive


async def test_cancellation_reaches_a_running_task_within_a_second(tasks, order, start_worker, until_state, all_events):
    task_id = (await tasks.create(order())).task_id
    start_worker(Runner(for_ever))
    await until_state(task_id, TaskState.RUNNING)
    began = time.monotonic()
    await tasks.cancel(task_id, "ann")
    await until_state(task_id, TaskState.CANCELLED)
    assert time.monotonic() - began < 1.2
    assert (await all_events(task_id))[-1].document == {"type": "cancelled"}


async def test_call_waits_for_a_person_and_then_runs(tasks, order, start_worker, until_state, asking_for, all_events):
    progress = asking_for("mail.send")
    call = progress.pending[0]

    async def ask(task, known, journal, emit):
        if known is None:
            await journal.answered(progress)
        await emit(ToolCalled(call.id, call.name, {"to": "bob"}))
        if task.attempt == 1:
            await emit(ApprovalRequired(call.id, call.name, {"to": "bob"}))
            return Waiting(progress, progress.pending)
        return Finished({"answer": "sent"})

    task_id = (await tasks.create(order())).task_id
    runner = Runner(ask)
    worker = start_worker(runner)
    view = await until_state(task_id, TaskState.WAITING)
    (shown,) = view.waiting
    assert (shown["id"], shown["name"], shown["arguments"]) == (call.id, "mail.send", {"to": "bob"})
    assert worker.running == 0
    await tasks.decide(task_id, "ann", call.id, Decision(approved=True, who="ann"))
    worker.poke()
    await until_state(task_id, TaskState.SUCCEEDED)
    assert [asked[1:] for asked in runner.asked] == [
        (None, frozenset(), frozenset(), frozenset()),
        (progress, frozenset({call.id}), frozenset(), frozenset()),
    ]
    types = [event.document["type"] for event in await all_events(task_id)]
    assert types.count("approval.required") == 1
    assert types[-3:] == ["approval.decided", "task.resumed", "completed"]


async def test_task_that_waits_for_what_is_decided_fails_instead_of_going_round(
    tasks, order, start_worker, until_state, asking_for
):
    progress = asking_for("mail.send")

    async def ask(*_):
        return Waiting(progress, progress.pending)

    task_id = (await tasks.create(order(waiting=Waiting(progress, progress.pending)))).task_id
    await tasks.decide(task_id, "ann", progress.pending[0].id, Decision(approved=True, who="ann"))
    start_worker(Runner(ask))
    await until_state(task_id, TaskState.FAILED)


async def test_calls_that_began_are_unknown_unless_idempotent(tasks, order, start_worker, until_state, asking_for):
    task_id = (await tasks.create(order())).task_id
    claim = await tasks.claim("support-5c9f0a1b2d", "pod-0", may_adopt=False)
    await tasks.answered(claim, asking_for("kb.search", "mail.send", "mail.list", "kb.read"))
    for call in ("c00100000", "c00100001", "c00100002"):
        await tasks.tool_started(claim, call, 0)
    await tasks.tool_ended(claim, "c00100000", "found")

    async def answer(*_):
        return Finished({})

    runner = Runner(answer)
    start_worker(runner, idempotent=lambda call: call.name == "mail.list")
    await until_state(task_id, TaskState.SUCCEEDED)
    (_, progress, _, _, unknown) = runner.asked[0]
    assert unknown == frozenset({"c00100001"})
    assert [call.id for call in progress.pending] == ["c00100001", "c00100002", "c00100003"]
    assert progress.results == {"c00100000": "found"}


async def test_end_of_a_call_is_told_though_its_pod_died_before_it_could(
    tasks, order, start_worker, until_state, asking_for, all_events
):
    task_id = (await tasks.create(order())).task_id
    claim = await tasks.claim("support-5c9f0a1b2d", "pod-0", may_adopt=False)
    await tasks.answered(claim, asking_for("kb.search", "kb.read"))
    for call in ("c00100000", "c00100001"):
        await tasks.tool_started(claim, call, 0)
        await tasks.tool_ended(claim, call, "found")
    await tasks.emit(claim, 1, [("e:end:c00100000", {"type": "tool.result", "id": "c00100000"})])

    async def answer(*_):
        return Finished({})

    start_worker(Runner(answer))
    await until_state(task_id, TaskState.SUCCEEDED)
    ends = [e.document["id"] for e in await all_events(task_id) if e.document["type"] == "tool.result"]
    assert ends == ["c00100000", "c00100001"]


async def test_pod_that_goes_hands_its_tasks_to_the_next_at_once(
    store, limits, order, start_worker, until, until_state
):
    tasks = TaskStore(store, limits(lease=60))

    async def answer(*_):
        return Finished({"by": 2})

    task_id = (await tasks.create(order())).task_id
    leaving = {"now": False}
    first = start_worker(Runner(for_ever), store=tasks, draining=lambda: leaving["now"])
    await until_state(task_id, TaskState.RUNNING)
    start_worker(Runner(answer), store=tasks, pod="pod-2")
    began = time.monotonic()
    leaving["now"] = True
    view = await until_state(task_id, TaskState.SUCCEEDED)
    assert view.attempt == 2
    assert time.monotonic() - began < 3

    async def ended():
        return not first.alive

    await until(ended)


async def test_running_call_may_end_before_the_task_is_handed_over_and_no_other_begins(
    tasks, order, start_worker, until_state, asking_for
):
    progress = asking_for("mail.send", "mail.list")
    first_call, second_call = progress.pending
    begun, finish = asyncio.Event(), asyncio.Event()
    ran = []

    async def work(task, known, journal, emit):
        if task.attempt == 2:
            return Finished({"results": dict(known.results), "started": sorted(known.started)})
        await journal.answered(progress)

        async def one(call, gate):
            await gate.wait()
            await journal.tool_started(call, 0)
            ran.append(call.name)
            begun.set()
            await finish.wait()
            await journal.tool_ended(call, "sent")
            await emit(ToolEnded(call.id, call.name, "ok", 1))

        free, late = asyncio.Event(), stopping
        free.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(one(first_call, free))
            group.create_task(one(second_call, late))
        return Finished({"by": 1})

    stopping = asyncio.Event()
    task_id = (await tasks.create(order())).task_id
    worker = start_worker(Runner(work))
    await begun.wait()
    stop = asyncio.create_task(worker.stop())
    await asyncio.sleep(0.1)
    stopping.set()
    await asyncio.sleep(0.1)
    finish.set()
    await stop
    start_worker(Runner(work), pod="pod-2")
    view = await until_state(task_id, TaskState.SUCCEEDED)
    assert ran == ["mail.send"]
    assert view.result == {"results": {first_call.id: "sent"}, "started": [first_call.id]}


async def test_call_that_does_not_end_in_time_is_cut_off_and_unknown_to_the_next(
    tasks, order, start_worker, until_state, asking_for
):
    progress = asking_for("mail.send")

    async def work(task, known, journal, emit):
        if task.attempt == 1:
            await journal.answered(progress)
            await journal.tool_started(progress.pending[0], 0)
            await asyncio.Event().wait()
        return Finished({})

    task_id = (await tasks.create(order())).task_id
    worker = start_worker(Runner(work), grace_seconds=0.1)
    await until_state(task_id, TaskState.RUNNING)
    await asyncio.sleep(0.2)
    await worker.stop()
    runner = Runner(work)
    start_worker(runner, pod="pod-2")
    await until_state(task_id, TaskState.SUCCEEDED)
    assert runner.asked[0][-1] == frozenset({"c00100000"})


async def test_outage_shorter_than_the_lease_costs_nothing(own_redis, open_at, limits, order, start_worker, until):
    store = open_at(own_redis)
    tasks = TaskStore(store, limits(lease=20))
    go = asyncio.Event()

    async def work(task, known, journal, emit):
        await go.wait()
        await emit(TextDelta("after the outage"))
        return Finished({"attempt": task.attempt})

    task_id = (await tasks.create(order())).task_id
    worker = start_worker(Runner(work), store=tasks)

    async def running():
        return worker.running == 1

    await until(running)
    own_redis.stop()
    go.set()
    await asyncio.sleep(1.5)
    assert worker.alive
    own_redis.start()

    async def ended():
        try:
            view = await tasks.view(task_id, None)
        except StoreUnavailable:
            return None
        return view if view.state.terminal else None

    assert (await until(ended)).result == {"attempt": 1}


async def test_worker_stops_a_task_when_it_may_not_have_it_any_more(
    own_redis, open_at, limits, order, start_worker, until
):
    tasks = TaskStore(open_at(own_redis), limits(lease=1.5))
    stopped = asyncio.Event()

    async def work(*_):
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await tasks.create(order())
    worker = start_worker(Runner(work), store=tasks)

    async def running():
        return worker.running == 1

    await until(running)
    began = time.monotonic()
    own_redis.freeze()
    try:
        await asyncio.wait_for(stopped.wait(), 10)
        # The store would give the task to others after 1.5 s; a call to a frozen store may take a second of that.
        assert time.monotonic() - began < 4
    finally:
        own_redis.thaw()


async def test_canary_leaves_the_tasks_of_stable_alone_and_stable_takes_those_of_a_canary_that_went(
    tasks, order, start_worker, until_state
):
    async def answer(task, *_):
        return Finished({"by": task.revision, "from": task.moved_from})

    of_stable = (await tasks.create(order())).task_id
    start_worker(Runner(answer), pod="canary-1", revision=OTHER, may_adopt=lambda: False)
    await asyncio.sleep(1.5)
    assert (await tasks.view(of_stable, None)).state is TaskState.QUEUED
    of_gone = (await tasks.create(order(revision="support-0000000000"))).task_id
    start_worker(Runner(answer))
    assert (await until_state(of_stable, TaskState.SUCCEEDED)).result == {"by": "support-5c9f0a1b2d", "from": None}
    view = await until_state(of_gone, TaskState.SUCCEEDED)
    assert view.result == {"by": "support-5c9f0a1b2d", "from": "support-0000000000"}
    assert view.moved_from == "support-0000000000"
