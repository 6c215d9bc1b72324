"""The queue: each key once, one worker a key, backoff that ends, and no death in silence."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from agent_operator import workqueue
from agent_operator.workqueue import WorkQueue

WAIT = 5.0


class Flaky(Exception):
    """Tried again."""


@asynccontextmanager
async def working(work, workers=2):
    queue = WorkQueue(work)
    task = asyncio.create_task(queue.run(workers))
    try:
        yield queue
    finally:
        queue.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.002)


async def test_a_key_added_twice_before_work_begins_is_worked_on_once():
    done = []

    async def work(key):
        done.append(key)

    queue = WorkQueue(work)
    for key in ("a", "a", "b", "a"):
        queue.add(key)
    assert queue.depth() == 2
    task = asyncio.create_task(queue.run(1))
    await until(lambda: len(done) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert done == ["a", "b"]
    assert queue.depth() == 0


async def test_a_key_added_while_it_is_worked_on_is_worked_on_again_afterwards_by_one_worker():
    begun, release = [], asyncio.Event()
    at_once = 0

    async def work(key):
        nonlocal at_once
        at_once += 1
        assert at_once == 1, "two workers on one key"
        begun.append(key)
        await release.wait()
        at_once -= 1

    async with working(work, workers=4) as queue:
        queue.add("a")
        await until(lambda: len(begun) == 1)
        for _ in range(3):
            queue.add("a")
        assert queue.depth() == 0
        release.set()
        await until(lambda: len(begun) == 2)
        await asyncio.sleep(0.02)
    assert len(begun) == 2


async def test_different_keys_are_worked_on_side_by_side():
    both = asyncio.Barrier(2)

    async def work(_key):
        await both.wait()

    async with working(work) as queue:
        queue.add("a")
        queue.add("b")
        async with asyncio.timeout(WAIT):
            while both.n_waiting or queue.depth():
                await asyncio.sleep(0.002)


async def test_work_that_wants_to_look_again_is_called_again():
    calls = []

    async def work(key):
        calls.append(key)
        return 0 if len(calls) < 3 else None

    async with working(work) as queue:
        queue.add("a")
        await until(lambda: len(calls) == 3)
        await asyncio.sleep(0.02)
    assert calls == ["a"] * 3


async def test_the_earliest_wish_counts():
    queue = WorkQueue(lambda _key: None)
    queue.add_after("a", 50)
    queue.add_after("a", 1000)
    assert queue._timers["a"].when() < asyncio.get_running_loop().time() + 60
    queue.add_after("a", 0.001)
    await until(lambda: queue.depth() == 1)
    assert queue._timers == {}


async def test_a_wish_for_now_takes_the_place_of_one_for_later():
    queue = WorkQueue(lambda _key: None)
    queue.add_after("a", 0.01)
    queue.add("a")
    assert queue._timers == {}
    assert queue.depth() == 1


async def test_closing_cancels_what_waits_for_its_time():
    queue = WorkQueue(lambda _key: None)
    queue.add_after("a", 0.001)
    queue.close()
    await asyncio.sleep(0.01)
    assert queue.depth() == 0


async def test_failures_are_tried_again_with_growing_and_bounded_delays(monkeypatch):
    delays = []
    queue = WorkQueue(_always_fails)
    monkeypatch.setattr(workqueue.random, "uniform", lambda _low, high: high)
    monkeypatch.setattr(queue, "add_after", lambda _key, delay: delays.append(delay))
    for _ in range(12):
        await queue._attempt("a")
    assert delays[:4] == [0.2, 0.4, 0.8, 1.6]
    assert delays[-1] == 30.0
    assert max(delays) == 30.0


async def _always_fails(_key):
    raise Flaky("no")


async def test_a_success_begins_the_backoff_anew(monkeypatch):
    delays, fails = [], [True, True, False, True]

    async def work(_key):
        if fails.pop(0):
            raise Flaky("no")

    queue = WorkQueue(work)
    monkeypatch.setattr(workqueue.random, "uniform", lambda _low, high: high)
    monkeypatch.setattr(queue, "add_after", lambda _key, delay: delays.append(delay))
    for _ in range(4):
        await queue._attempt("a")
    assert delays == [0.2, 0.4, 0.2]


async def test_a_failing_key_is_worked_on_again():
    calls = []

    async def work(key):
        calls.append(key)
        if len(calls) == 1:
            raise Flaky("no")

    async with working(work) as queue:
        queue.add("a")
        await until(lambda: len(calls) == 2)


@pytest.mark.parametrize("error", [LookupError("x"), RecursionError("deep"), TypeError("t"), MemoryError()])
async def test_an_error_of_one_key_is_that_keys(error):
    done = []

    async def work(key):
        if key == "poison":
            raise error
        done.append(key)

    async with working(work) as queue:
        for key in ("poison", "a", "poison", "b"):
            queue.add(key)
        await until(lambda: done == ["a", "b"])
        queue.add("c")
        await until(lambda: done == ["a", "b", "c"])


async def test_what_nobody_foresaw_is_logged_without_its_text(capsys):
    async def work(_key):
        raise LookupError("s3cr3t-of-a-tenant")

    queue = WorkQueue(work)
    await queue._attempt("a")
    queue.close()
    logged = capsys.readouterr().out
    assert "LookupError at test_workqueue.py:" in logged
    assert "s3cr3t" not in logged


async def test_what_is_looked_at_often_goes_before_a_crowd():
    done = []

    async def work(key):
        done.append(key)
        await asyncio.sleep(0)
        return 0.01 if key == "rolling" and len(done) < 400 else None

    async with working(work, workers=1) as queue:
        queue.add("rolling")
        await until(lambda: "rolling" in done)
        for number in range(3000):
            queue.add(f"k{number}")
        queue.add("rolling")
        await until(lambda: done.count("rolling") >= 3)
    assert done.index("rolling", 1) <= 2, "an event does not put it behind the crowd"


async def test_a_crowd_is_not_kept_waiting_for_ever_by_what_is_urgent():
    done = []

    async def work(key):
        done.append(key)
        await asyncio.sleep(0)
        if key.startswith("u"):
            queue.add(key, urgent=True)

    async with working(work, workers=1) as queue:
        for key in ("u1", "u2", "u3"):
            queue.add(key, urgent=True)
        queue.add("calm")
        await until(lambda: "calm" in done)
    assert done.index("calm") <= workqueue.URGENT_IN_A_ROW + 1


async def test_a_key_that_became_urgent_while_it_waited_is_worked_on_once():
    done = []

    async def work(key):
        done.append(key)

    queue = WorkQueue(work)
    for key in ("a", "b", "c"):
        queue.add(key)
    queue.add("c", urgent=True)
    assert queue.depth() == 3
    task = asyncio.create_task(queue.run(1))
    await until(lambda: len(done) == 3)
    await asyncio.sleep(0.02)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert done == ["c", "a", "b"]


async def test_keys_of_one_group_take_half_of_the_workers_at_most():
    release, begun = asyncio.Event(), []

    async def work(key):
        begun.append(key)
        if key[0] == "loud":
            await release.wait()

    queue = WorkQueue(work, lambda key: key[0])
    for number in range(10):
        queue.add(("loud", number))
    queue.add(("quiet", 0))
    task = asyncio.create_task(queue.run(4))
    await until(lambda: ("quiet", 0) in begun)
    assert len([key for key in begun if key[0] == "loud"]) == 2
    release.set()
    await until(lambda: len(begun) == 11)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
