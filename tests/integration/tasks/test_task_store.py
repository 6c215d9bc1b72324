"""What the scripts of the task store promise, on a real Redis."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from agent_runtime.access.caller import ANONYMOUS
from agent_runtime.core.events import TextDelta
from agent_runtime.core.task_state import TaskState
from agent_runtime.store.connection import open_memory_store
from agent_runtime.tasks.records import (
    AlreadyDecided,
    CallNotFound,
    Decision,
    IdempotencyConflict,
    QueueFull,
    TaskClosed,
    TaskNotFound,
)
from agent_runtime.tasks.runner import Broken, Finished, Waiting
from agent_runtime.tasks.store import MAX_PROGRESS_BYTES, ProgressTooLarge, TaskStore

REVISION = "support-5c9f0a1b2d"
OTHER = "support-77aa01e4c3"


async def claimed(tasks, order, **changes):
    created = await tasks.create(order(**changes))
    claim = await tasks.claim(REVISION, "pod-1", may_adopt=False)
    assert claim.task.id == created.task_id
    return claim


async def test_orders_with_one_key_at_the_same_time_make_one_task(tasks, order):
    made = await asyncio.gather(*(tasks.create(order(key="k")) for _ in range(50)))
    assert len({created.task_id for created in made}) == 1
    assert sum(created.fresh for created in made) == 1
    assert (await tasks.counts()).queued == 1


async def test_key_with_another_request_is_a_conflict_that_names_the_task(tasks, order):
    created = await tasks.create(order("one", key="k"))
    with pytest.raises(IdempotencyConflict) as conflict:
        await tasks.create(order("two", key="k"))
    assert conflict.value.task_id == created.task_id


async def test_key_is_the_users_own(tasks, order):
    first = await tasks.create(order(key="k"))
    assert (await tasks.create(order(key="k", user="bob"))).task_id != first.task_id


async def test_key_finds_the_task_after_its_end(tasks, order):
    claim = await claimed(tasks, order, key="k")
    await tasks.finish(claim, Finished({"answer": "hello"}))
    again = await tasks.create(order(key="k"))
    assert (again.task_id, again.state, again.fresh) == (claim.task.id, TaskState.SUCCEEDED, False)


async def test_queue_takes_no_more_than_its_bound_however_many_come_at_once(tasks, order):
    made = await asyncio.gather(*(tasks.create(order(max_queue=7)) for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(outcome, QueueFull) for outcome in made) == 33
    assert (await tasks.counts()).queued == 7


async def test_running_tasks_take_no_place_in_the_queue(tasks, order):
    await claimed(tasks, order, max_queue=1)
    await tasks.create(order(max_queue=1))
    with pytest.raises(QueueFull):
        await tasks.create(order(max_queue=1))


async def test_user_has_a_share_of_the_queue_however_many_come_at_once(tasks, order):
    made = await asyncio.gather(*(tasks.create(order(max_of_user=7)) for _ in range(40)), return_exceptions=True)
    assert sum(isinstance(outcome, QueueFull) for outcome in made) == 33
    assert (await tasks.create(order(user="bob", max_of_user=7))).fresh


async def test_users_share_counts_what_runs_and_not_what_has_ended(tasks, order, until):
    claim = await claimed(tasks, order, max_of_user=1)
    with pytest.raises(QueueFull, match="of this user"):
        await tasks.create(order(max_of_user=1))
    await tasks.finish(claim, Finished({}))
    cancelled = await tasks.create(order(max_of_user=1))
    await tasks.cancel(cancelled.task_id, "ann")
    await tasks.create(order(max_of_user=1, max_age=0.001))
    await until(tasks.sweep)
    assert (await tasks.create(order(max_of_user=1))).fresh


async def test_full_share_still_finds_the_task_of_its_key(tasks, order):
    first = await tasks.create(order(key="k", max_of_user=1))
    assert (await tasks.create(order(key="k", max_of_user=1))).task_id == first.task_id


async def test_callers_without_a_name_have_the_whole_queue(tasks, order):
    for _ in range(3):
        assert (await tasks.create(order(user=ANONYMOUS, max_of_user=1))).fresh


async def test_unended_tasks_are_listed_newest_first_by_state_and_number(tasks, order, asking_for):
    made = []
    for number in range(5):
        made.insert(0, (await tasks.create(order(str(number)))).task_id)
        await asyncio.sleep(0.002)
    claim = await tasks.claim(REVISION, "pod-1", may_adopt=False)

    async def ids(state=None, most=100):
        return [view.task_id for view in await tasks.unended("ann", state, most)]

    assert await ids() == made
    assert await ids(most=2) == made[:2]
    assert await ids(TaskState.QUEUED) == made[:4]
    assert await ids(TaskState.RUNNING) == [claim.task.id] == made[4:]
    assert await tasks.suspend(claim, asking_for("mail.send"), [{"id": "c00100000", "name": "mail.send"}])
    (waiting,) = await tasks.unended("ann", TaskState.WAITING, 1)
    assert (waiting.task_id, waiting.waiting) == (made[4], ({"id": "c00100000", "name": "mail.send"},))
    await tasks.cancel(made[4], "ann")
    assert await ids() == made[:4]


async def test_list_is_of_one_user_and_asks_the_store_once(tasks, order, store, monkeypatch):
    await tasks.create(order())
    bobs = await tasks.create(order(user="bob"))
    asked = []
    run = store.client.execute_command

    async def counted(*command, **options):
        asked.append(command[0])
        return await run(*command, **options)

    await tasks.unended("bob", None, 100)
    monkeypatch.setattr(store.client, "execute_command", counted)
    assert [view.task_id for view in await tasks.unended("bob", None, 100)] == [bobs.task_id]
    assert asked == ["EVALSHA"]
    assert await tasks.unended("", None, 100) == []


async def test_list_says_what_is_decided_already(tasks, order, asking_for):
    claim = await claimed(tasks, order)
    calls = [{"id": "c00100000", "name": "mail.send"}, {"id": "c00100001", "name": "mail.send"}]
    await tasks.suspend(claim, asking_for("mail.send", "mail.send"), calls)
    await tasks.decide(claim.task.id, "ann", "c00100000", Decision(approved=True, who="ann"))
    (view,) = await tasks.unended("ann", None, 1)
    assert [decision["call"] for decision in view.decisions] == ["c00100000"]


async def test_task_whose_record_was_lost_is_in_no_list(tasks, order, store):
    lost = await tasks.create(order())
    kept = await tasks.create(order())
    await store.client.delete(store.key("task") + f":{lost.task_id}")
    assert [view.task_id for view in await tasks.unended("ann", None, 100)] == [kept.task_id]


async def test_list_looks_at_a_bounded_number_of_tasks(tasks, order, monkeypatch):
    for _ in range(3):
        await tasks.create(order())
    monkeypatch.setattr("agent_runtime.tasks.store._MAX_SEEN", 2)
    assert len(await tasks.unended("ann", None, 100)) == 2


async def test_memory_store_lists_as_redis_does(order):
    tasks = TaskStore(open_memory_store("team", "support"))
    created = await tasks.create(order())
    assert [view.task_id for view in await tasks.unended("ann", TaskState.QUEUED, 1)] == [created.task_id]


async def test_one_task_has_one_owner_however_many_claim_it(tasks, order):
    await tasks.create(order())
    claims = await asyncio.gather(*(tasks.claim(REVISION, f"pod-{n}", may_adopt=True) for n in range(20)))
    assert sum(claim is not None for claim in claims) == 1


async def test_oldest_task_is_claimed_first(tasks, order):
    made = []
    for number in range(5):
        made.append((await tasks.create(order(str(number)))).task_id)
        await asyncio.sleep(0.002)
    assert [(await tasks.claim(REVISION, "pod-1", may_adopt=False)).task.id for _ in range(5)] == made


async def test_task_knows_what_it_was_asked(tasks, order):
    claim = await claimed(tasks, order, query="who?", conversation_id=f"{REVISION}.3.abcdefgh", max_age=100)
    task = claim.task
    assert (task.request, task.user, task.revision) == ({"query": "who?"}, "ann", REVISION)
    assert (task.conversation_id, task.attempt, task.moved_from) == (f"{REVISION}.3.abcdefgh", 1, None)
    assert 95 < task.seconds_left <= 100
    assert claim.progress is None


async def test_progress_comes_back_as_it_was_with_what_was_noted_since(tasks, order, asking_for):
    claim = await claimed(tasks, order)
    progress = asking_for("kb.search", "kb.read", "mail.send", iterations=3)
    assert await tasks.answered(claim, progress)
    assert await tasks.tool_started(claim, "c00300000", 0)
    assert await tasks.tool_ended(claim, "c00300000", "found \ud800 it")
    assert await tasks.tool_started(claim, "c00300002", 4)
    await tasks.release(claim)
    taken = await tasks.claim(REVISION, "pod-2", may_adopt=False)
    assert taken.progress == replace(
        progress,
        started=frozenset({"c00300000", "c00300002"}),
        results={"c00300000": "found ? it"},
        tool_calls=2,
        calls_by_rule={0: 1, 4: 1},
    )


async def test_next_answer_of_the_model_ends_the_step(tasks, order, asking_for):
    claim = await claimed(tasks, order)
    await tasks.answered(claim, asking_for("kb.search"))
    await tasks.tool_started(claim, "c00100000", 0)
    await tasks.tool_ended(claim, "c00100000", "found")
    await tasks.answered(claim, asking_for("kb.read", iterations=2))
    await tasks.release(claim)
    taken = await tasks.claim(REVISION, "pod-2", may_adopt=False)
    assert taken.progress == asking_for("kb.read", iterations=2)
    assert (await tasks.view(claim.task.id, "ann")).tool_calls == 1


async def test_worker_that_lost_its_lease_can_write_nothing(tasks, order, asking_for, until):
    old = await claimed(tasks, order)

    async def lost():
        await tasks.sweep()
        return await tasks.claim(REVISION, "pod-2", may_adopt=False)

    new = await until(lost)
    assert new.task.id == old.task.id
    before = await tasks.view(old.task.id, None)
    wrote = [
        await tasks.answered(old, asking_for("kb.search")),
        await tasks.tool_started(old, "c00100000", 0),
        await tasks.tool_ended(old, "c00100000", "x"),
        await tasks.emit(old, 1, [("", {"type": "delta", "text": "x"})]),
        await tasks.finish(old, Finished({})),
        await tasks.suspend(old, asking_for("kb.search"), []),
        await tasks.release(old),
    ]
    assert wrote == [False] * 7
    assert await tasks.pulse("r p", [old, new]) == ["lost", "ok"]
    assert await tasks.view(old.task.id, None) == before


async def test_lease_that_ended_is_lost_although_nobody_took_the_task_yet(tasks, order, until):
    claim = await claimed(tasks, order)

    async def swept():
        return await tasks.sweep()

    await until(swept)
    assert not await tasks.tool_started(claim, "c00100000", 0)
    assert (await tasks.view(claim.task.id, None)).state is TaskState.QUEUED


async def test_pulse_keeps_a_lease(tasks, order):
    claim = await claimed(tasks, order)
    for _ in range(8):
        assert await tasks.pulse("r p", [claim]) == ["ok"]
        await tasks.sweep()
        await asyncio.sleep(0.2)
    assert await tasks.tool_started(claim, "c00100000", 0)


async def test_task_that_loses_its_pods_again_and_again_fails(store, limits, order, until):
    tasks = TaskStore(store, limits(lease=0.01, max_lost=2))
    created = await tasks.create(order())

    async def failed():
        await tasks.sweep()
        await tasks.claim(REVISION, "pod", may_adopt=False)
        view = await tasks.view(created.task_id, None)
        return view if view.state is TaskState.FAILED else None

    view = await until(failed)
    assert view.attempt == 3
    assert view.problem["type"] == "urn:greylag:problem:task-abandoned"


async def test_handing_back_is_no_loss(store, limits, order):
    tasks = TaskStore(store, limits(max_lost=0))
    await tasks.create(order())
    for attempt in range(1, 5):
        claim = await tasks.claim(REVISION, "pod", may_adopt=False)
        assert claim.task.attempt == attempt
        assert await tasks.release(claim)


@pytest.mark.parametrize("state", [TaskState.QUEUED, TaskState.RUNNING, TaskState.WAITING])
async def test_task_that_is_too_old_fails_in_every_state(tasks, order, until, asking_for, state):
    age = 0.3
    waiting = Waiting(asking_for("mail.send"), asking_for("mail.send").pending) if state is TaskState.WAITING else None
    created = await tasks.create(order(max_age=age, waiting=waiting))
    claim = await tasks.claim(REVISION, "pod", may_adopt=False) if state is TaskState.RUNNING else None

    async def failed():
        await tasks.sweep()
        view = await tasks.view(created.task_id, None)
        return view if view.state.terminal else None

    assert (await tasks.view(created.task_id, None)).state is state
    view = await until(failed)
    assert view.state is TaskState.FAILED
    expected = "approval-timeout" if state is TaskState.WAITING else "task-expired"
    assert view.problem["type"] == f"urn:greylag:problem:{expected}"
    assert claim is None or not await tasks.tool_started(claim, "c00100000", 0)
    counts = await tasks.counts()
    assert (counts.queued, counts.running, counts.waiting) == (0, 0, 0)


async def test_task_of_another_user_does_not_exist(tasks, order):
    task_id = (await tasks.create(order())).task_id
    for user in ("bob", ""):
        with pytest.raises(TaskNotFound):
            await tasks.view(task_id, user)
        with pytest.raises(TaskNotFound):
            await tasks.cancel(task_id, user)
        with pytest.raises(TaskNotFound):
            await tasks.decide(task_id, user, "c", Decision(approved=True, who=user))
    assert (await tasks.view(task_id, None)).state is TaskState.QUEUED


async def test_queued_task_is_cancelled_at_once_and_never_claimed(tasks, order, all_events):
    task_id = (await tasks.create(order())).task_id
    assert await tasks.cancel(task_id, "ann") is TaskState.CANCELLED
    assert await tasks.cancel(task_id, "ann") is TaskState.CANCELLED
    assert await tasks.claim(REVISION, "pod", may_adopt=True) is None
    assert [event.document["type"] for event in await all_events(task_id)] == ["task.queued", "cancelled"]


async def test_running_task_is_told_to_cancel(tasks, order):
    claim = await claimed(tasks, order)
    assert await tasks.cancel(claim.task.id, "ann") is TaskState.RUNNING
    assert await tasks.pulse("r p", [claim]) == ["cancel"]
    assert (await tasks.view(claim.task.id, "ann")).cancel_requested


async def test_cancelled_task_whose_pod_is_lost_ends_cancelled(tasks, order, until):
    claim = await claimed(tasks, order)
    await tasks.cancel(claim.task.id, "ann")

    async def ended():
        await tasks.sweep()
        return (await tasks.view(claim.task.id, "ann")).state.terminal

    await until(ended)
    assert (await tasks.view(claim.task.id, "ann")).state is TaskState.CANCELLED


async def test_cancelled_task_does_not_begin_to_wait(tasks, order, asking_for):
    claim = await claimed(tasks, order)
    await tasks.cancel(claim.task.id, "ann")
    assert await tasks.suspend(claim, asking_for("mail.send"), [{"id": "c00100000", "name": "mail.send"}])
    assert (await tasks.view(claim.task.id, "ann")).state is TaskState.CANCELLED


@pytest.mark.parametrize("end", [Finished({"answer": "x"}), Broken({"type": "p"})])
async def test_task_that_ended_otherwise_cannot_be_cancelled(tasks, order, end):
    claim = await claimed(tasks, order)
    await tasks.finish(claim, end)
    with pytest.raises(TaskClosed):
        await tasks.cancel(claim.task.id, "ann")


async def test_end_is_written_once_with_its_event(tasks, order, all_events):
    claim = await claimed(tasks, order)
    assert await tasks.finish(claim, Finished({"answer": "hello"}))
    assert not await tasks.finish(claim, Broken({"type": "late"}))
    view = await tasks.view(claim.task.id, "ann")
    assert (view.state, view.result, view.problem) == (TaskState.SUCCEEDED, {"answer": "hello"}, None)
    events = await all_events(claim.task.id)
    assert [event.document["type"] for event in events] == ["task.queued", "task.started", "completed"]
    assert events[-1].document["result"] == {"answer": "hello"}


async def waiting_for(tasks, order, asking_for, *names):
    claim = await claimed(tasks, order)
    progress = asking_for(*names)
    waiting = [{"id": call.id, "name": call.name, "arguments": {}} for call in progress.pending]
    assert await tasks.suspend(claim, progress, waiting)
    return claim.task.id, [call.id for call in progress.pending]


async def test_task_waits_without_a_worker_until_every_call_is_decided(tasks, order, asking_for):
    task_id, (first, second) = await waiting_for(tasks, order, asking_for, "mail.send", "files.write")
    assert await tasks.claim(REVISION, "pod", may_adopt=True) is None
    assert (await tasks.counts()).waiting == 1
    assert (
        await tasks.decide(task_id, "ann", first, Decision(approved=True, who="ann", reason="fine"))
        is TaskState.WAITING
    )
    assert await tasks.claim(REVISION, "pod", may_adopt=True) is None
    assert await tasks.decide(task_id, "ann", second, Decision(approved=False, who="ann")) is TaskState.QUEUED
    claim = await tasks.claim(REVISION, "pod", may_adopt=False)
    assert (claim.step.approved, claim.step.rejected) == (frozenset({first}), frozenset({second}))
    assert claim.progress == asking_for("mail.send", "files.write")


async def test_decisions_keep_who_when_and_why(tasks, order, asking_for):
    task_id, (call,) = await waiting_for(tasks, order, asking_for, "mail.send")
    await tasks.decide(task_id, "ann", call, Decision(approved=True, who="ann", reason='it is "fine"'))
    view = await tasks.view(task_id, "ann")
    (decision,) = view.decisions
    assert {**decision, "at": 0} == {"call": call, "approved": True, "who": "ann", "reason": 'it is "fine"', "at": 0}
    assert view.created <= decision["at"] < view.created + 10
    assert view.waiting == ()


async def test_decision_is_for_its_step_alone_and_stays_on_record(tasks, order, asking_for):
    task_id, (call,) = await waiting_for(tasks, order, asking_for, "mail.send")
    await tasks.decide(task_id, "ann", call, Decision(approved=True, who="ann"))
    claim = await tasks.claim(REVISION, "pod", may_adopt=False)
    # A provider may use the same id twice; the approval must not fit the second call.
    await tasks.answered(claim, asking_for("mail.send"))
    await tasks.release(claim)
    assert (await tasks.claim(REVISION, "pod", may_adopt=False)).step.approved == frozenset()
    assert [decision["call"] for decision in (await tasks.view(task_id, "ann")).decisions] == [call]


async def test_same_decision_twice_is_one_and_another_is_refused(tasks, order, asking_for):
    task_id, (call, _) = await waiting_for(tasks, order, asking_for, "mail.send", "files.write")
    yes, no = Decision(approved=True, who="ann"), Decision(approved=False, who="ann")
    answers = await asyncio.gather(*(tasks.decide(task_id, "ann", call, yes) for _ in range(10)))
    assert set(answers) == {TaskState.WAITING}
    with pytest.raises(AlreadyDecided):
        await tasks.decide(task_id, "ann", call, no)
    assert len((await tasks.view(task_id, "ann")).decisions) == 1


async def test_what_is_not_waited_for_cannot_be_decided(tasks, order, asking_for):
    task_id, _ = await waiting_for(tasks, order, asking_for, "mail.send")
    with pytest.raises(CallNotFound):
        await tasks.decide(task_id, "ann", "c99999999", Decision(approved=True, who="ann"))
    running = await tasks.create(order())
    with pytest.raises(TaskClosed):
        await tasks.decide(running.task_id, "ann", "c00100000", Decision(approved=True, who="ann"))


async def test_waiting_run_becomes_a_waiting_task(tasks, order, asking_for):
    progress = asking_for("mail.send")
    created = await tasks.create(order(waiting=Waiting(progress, progress.pending)))
    assert created.state is TaskState.WAITING
    view = await tasks.view(created.task_id, "ann")
    assert [call["id"] for call in view.waiting] == ["c00100000"]
    await tasks.decide(created.task_id, "ann", "c00100000", Decision(approved=True, who="ann"))
    assert (await tasks.claim(REVISION, "pod", may_adopt=False)).progress == progress


async def test_batch_that_is_sent_again_is_written_once(tasks, order, feed):
    claim = await claimed(tasks, order)
    for _ in range(3):
        assert await tasks.emit(claim, 1, [("", {"type": "delta", "text": "a"}), ("", {"type": "delta", "text": "b"})])
    assert await tasks.emit(claim, 2, [("", {"type": "delta", "text": "c"})])
    texts = [event.document.get("text") for event in await feed.after(claim.task.id, 2, 5)]
    assert texts == ["a", "b", "c"]


async def test_marked_event_is_shown_once_a_step(tasks, order, feed, asking_for):
    claim = await claimed(tasks, order)
    event = ("e:call:c00100000", {"type": "tool.call"})
    await tasks.emit(claim, 1, [event])
    await tasks.release(claim)
    claim = await tasks.claim(REVISION, "pod-2", may_adopt=False)
    await tasks.emit(claim, 1, [event])
    await tasks.answered(claim, asking_for("kb.search"))
    await tasks.emit(claim, 2, [event])
    types = [event.document["type"] for event in await feed.after(claim.task.id, 0, 5)]
    assert types == ["task.queued", "task.started", "tool.call", "task.resumed", "tool.call"]


async def test_stream_of_events_is_bounded(store, limits, order):
    tasks = TaskStore(store, limits(max_events=200))
    claim = await claimed(tasks, order)
    for number in range(20):
        await tasks.emit(claim, number, [("", {"type": TextDelta("").type, "text": "x"})] * 50)
    assert await store.client.xlen(tasks.events_key(claim.task.id)) <= 300


async def test_too_much_progress_is_refused_by_size(tasks, order, asking_for):
    claim = await claimed(tasks, order)
    progress = replace(asking_for("kb.search"), results={"c00100000": "x" * MAX_PROGRESS_BYTES})
    with pytest.raises(ProgressTooLarge, match="bytes"):
        await tasks.answered(claim, progress)


async def test_another_revision_takes_a_task_only_when_its_own_has_no_worker(tasks, order, until):
    created = await tasks.create(order())
    await tasks.pulse(f"{REVISION} pod-1", [])
    assert await tasks.claim(OTHER, "pod-9", may_adopt=True) is None
    for _ in range(6):
        await tasks.pulse(f"{REVISION} pod-1", [])
        assert await tasks.claim(OTHER, "pod-9", may_adopt=True) is None
        await asyncio.sleep(0.2)

    async def adopted():
        assert await tasks.claim(OTHER, "pod-9", may_adopt=False) is None
        return await tasks.claim(OTHER, "pod-9", may_adopt=True)

    claim = await until(adopted)
    assert (claim.task.id, claim.task.revision, claim.task.moved_from) == (created.task_id, OTHER, REVISION)
    view = await tasks.view(created.task_id, None)
    assert (view.revision, view.moved_from) == (OTHER, REVISION)


async def test_worker_that_says_good_bye_is_not_waited_for(tasks, order, until):
    await tasks.create(order())
    await tasks.pulse(f"{REVISION} pod-1", [])
    await tasks.leave(f"{REVISION} pod-1")

    async def adopted():
        return await tasks.claim(OTHER, "pod-9", may_adopt=True)

    await until(adopted, seconds=3)


async def test_everything_of_a_task_has_an_end_and_lies_in_the_slot_of_the_namespace(tasks, store, order, asking_for):
    task_id, (call,) = await waiting_for(tasks, order, asking_for, "mail.send")
    await tasks.decide(task_id, "ann", call, Decision(approved=True, who="ann"))
    claim = await tasks.claim(REVISION, "pod", may_adopt=False)
    await tasks.tool_started(claim, call, 0)
    names = [name.decode() async for name in store.client.scan_iter("*")]
    assert all(name.startswith("{greylag:team-a}:support:task") for name in names)
    of_task = [name for name in names if task_id in name]
    assert len(of_task) == 4
    await tasks.finish(claim, Finished({}))
    for name in [name async for name in store.client.scan_iter(f"*{task_id}*")]:
        assert 0 < await store.client.pttl(name) <= 60_000
    assert not await store.client.exists(f"{tasks.events_key(task_id).removesuffix(':events')}:step")


async def test_everything_runs_in_the_store_of_local_development_too(order, limits, asking_for):
    store = open_memory_store("team-a", "support")
    tasks = TaskStore(store, limits())
    task_id, (call,) = await waiting_for(tasks, order, asking_for, "mail.send")
    await tasks.sweep()
    await tasks.pulse(f"{REVISION} pod-1", [])
    await tasks.decide(task_id, "ann", call, Decision(approved=True, who="ann"))
    claim = await tasks.claim(REVISION, "pod", may_adopt=True)
    await tasks.tool_started(claim, call, 0)
    await tasks.tool_ended(claim, call, "sent")
    await tasks.emit(claim, 1, [("", {"type": "delta", "text": "a"})])
    await tasks.finish(claim, Finished({"answer": "done"}))
    assert (await tasks.view(task_id, "ann")).state is TaskState.SUCCEEDED
    await store.aclose()
