"""Breakers that pods share."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.llm.breaker import Breakers
from agent_runtime.llm.client import BudgetExceeded, EndpointFailed, EndpointRefused, Usage

DOWN = Fault(FaultKind.UNAVAILABLE, 503)
QUICK = {"failure_threshold": 3, "window_seconds": 5, "recovery_seconds": 0.3}


@pytest.fixture
def breakers(store, runtime_document):
    def build(*endpoints, on=store, revision="support-5c9f0a1b2d", **policy):
        return Breakers(runtime_document(*endpoints, revision=revision, **{**QUICK, **policy}), on)

    return build


async def fail(client, ask, times=1):
    for _ in range(times):
        with pytest.raises(EndpointFailed):
            await client.complete(ask())


async def until_refused(client, ask, seconds=3):
    deadline = time.monotonic() + seconds
    while True:
        try:
            await client.complete(ask())
        except EndpointRefused as refused:
            return refused
        except EndpointFailed:
            pass
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("shared", [True, False])
async def test_it_opens_refuses_probes_once_and_closes(breakers, endpoint, ask, shared, store):
    model = endpoint([DOWN, DOWN, DOWN, Usage(1, 1)])
    board = breakers(on=store if shared else None)
    client = board.client(0, model)
    await fail(client, ask, 3)
    with pytest.raises(EndpointRefused, match="circuit open") as raised:
        await client.complete(ask())
    assert 0 < raised.value.retry_after <= 0.3
    assert model.calls == 3
    assert [(report.model, report.seconds <= 0.3) for report in board.open_breakers()] == [("gpt-x", True)]
    await asyncio.sleep(0.31)
    assert (await client.complete(ask())).text == "hello"
    assert board.open_breakers() == ()
    assert (await client.complete(ask())).text == "hello"


@pytest.mark.parametrize("shared", [True, False])
async def test_of_50_waiting_calls_one_is_the_probe(breakers, endpoint, ask, shared, store):
    model = endpoint([DOWN, DOWN, DOWN, "hang"])
    board = breakers(on=store if shared else None)
    client = board.client(0, model)
    await fail(client, ask, 3)
    await asyncio.sleep(0.31)
    tasks = [asyncio.create_task(client.complete(ask())) for _ in range(50)]
    await model.hanging.wait()
    done, waiting = await asyncio.wait(tasks, timeout=0.3)
    assert (len(done), len(waiting)) == (49, 1)
    assert all(isinstance(task.exception(), EndpointRefused) for task in done)
    assert model.calls == 4
    waiting.pop().cancel()
    await asyncio.wait(tasks)
    # A probe that was cancelled tells nothing: the next call probes.
    model.script = [Usage(1, 1)]
    deadline = time.monotonic() + 2
    while True:
        try:
            await client.complete(ask())
            break
        except EndpointRefused:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_probe_is_one_over_all_pods(breakers, endpoint, ask):
    model = endpoint([DOWN, DOWN, DOWN, "hang"])
    clients = [breakers().client(0, model) for _ in range(3)]
    await fail(clients[0], ask, 3)
    for client in clients[1:]:
        await until_refused(client, ask)
    calls = model.calls
    await asyncio.sleep(0.31)
    tasks = [asyncio.create_task(client.complete(ask())) for client in clients for _ in range(5)]
    await model.hanging.wait()
    _, waiting = await asyncio.wait(tasks, timeout=0.3)
    assert model.calls == calls + 1
    assert len(waiting) == 1
    waiting.pop().cancel()
    await asyncio.wait(tasks)


async def test_pod_that_saw_nothing_refuses_at_its_first_call(breakers, endpoint, ask):
    model = endpoint([DOWN])
    await fail(breakers(recovery_seconds=5).client(0, model), ask, 3)
    calls = model.calls
    with pytest.raises(EndpointRefused):
        await breakers(recovery_seconds=5).client(0, model).complete(ask())
    assert model.calls == calls


async def test_failures_of_all_pods_add_up(breakers, endpoint, ask):
    model = endpoint([DOWN])
    clients = [breakers(recovery_seconds=5).client(0, model) for _ in range(3)]
    for client in clients:
        await fail(client, ask)
    with pytest.raises(EndpointRefused):
        await clients[2].complete(ask())


async def test_recovery_found_by_one_pod_closes_it_for_all(breakers, endpoint, ask):
    model = endpoint([DOWN])
    boards = [breakers(), breakers()]
    first, second = (board.client(0, model) for board in boards)
    await fail(first, ask, 3)
    await until_refused(second, ask)
    owner = asyncio.create_task(boards[1].run())
    model.script = [Usage(1, 1)]
    await asyncio.sleep(0.31)
    await first.complete(ask())
    deadline = time.monotonic() + 3
    while boards[1].open_breakers():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await second.complete(ask())
    owner.cancel()
    await asyncio.gather(owner, return_exceptions=True)


async def test_a_bad_canary_or_key_does_not_open_that_of_others(breakers, endpoint, ask, endpoint_document):
    bad, good = endpoint([DOWN]), endpoint([Usage(1, 1)])
    two = (endpoint_document(), endpoint_document())
    await fail(breakers(*two, revision="support-canary", recovery_seconds=5).client(0, bad), ask, 3)
    await breakers(*two, recovery_seconds=5).client(0, good).complete(ask())
    await breakers(*two, revision="support-canary", recovery_seconds=5).client(1, good).complete(ask())


async def test_case_13_longest_deadline_wins(breakers, endpoint, ask):
    model = endpoint([DOWN, DOWN, Fault(FaultKind.RATE_LIMITED, 429, 20)])
    board = breakers()
    client = board.client(0, model)
    await fail(client, ask, 3)
    assert 19 < board.open_breakers()[0].seconds <= 20
    other = breakers()
    refused = await until_refused(other.client(0, model), ask)
    assert 15 < refused.retry_after <= 20


@pytest.mark.parametrize(
    "outcome",
    [
        Fault(FaultKind.REFUSED, 400),
        Fault(FaultKind.REFUSED, 422),
        Fault(FaultKind.CREDENTIAL),
        BudgetExceeded("agent", "no"),
        EndpointRefused("gpt-x", "its price is not known"),
    ],
)
async def test_what_says_nothing_of_the_endpoint_does_not_count(breakers, endpoint, ask, outcome):
    model = endpoint([outcome])
    client = breakers().client(0, model)
    for _ in range(10):
        with pytest.raises((EndpointFailed, BudgetExceeded, EndpointRefused)):
            await client.complete(ask())
    assert model.calls == 10


async def test_case_13_callers_who_leave_or_have_no_time_do_not_count(breakers, endpoint, ask):
    model = endpoint(["hang"])
    client = breakers().client(0, model)
    for _ in range(5):
        task = asyncio.create_task(client.complete(ask()))
        await model.hanging.wait()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    model.script = [Fault(FaultKind.TOTAL_TIMEOUT)]
    for _ in range(5):
        with pytest.raises(EndpointFailed):
            await client.complete(ask(within=-1))
    model.script = [Usage(1, 1)]
    await client.complete(ask())


async def test_forced_call_is_asked_and_its_answer_closes(breakers, endpoint, ask):
    model = endpoint([DOWN, DOWN, DOWN, Usage(1, 1)])
    board = breakers(recovery_seconds=60)
    client = board.client(0, model)
    await fail(client, ask, 3)
    await client.complete(ask(forced=True))
    assert board.open_breakers() == ()
    await client.complete(ask())
    await breakers(recovery_seconds=60).client(0, model).complete(ask())


async def test_failed_probe_opens_it_again(breakers, endpoint, ask):
    model = endpoint([DOWN])
    board = breakers()
    client = board.client(0, model)
    await fail(client, ask, 3)
    await asyncio.sleep(0.31)
    await fail(client, ask)
    with pytest.raises(EndpointRefused):
        await client.complete(ask())
    assert model.calls == 4


async def test_store_away_leaves_the_local_breaker_and_it_is_shared_afterwards(
    breakers, endpoint, ask, own_redis, open_at
):
    store = open_at(own_redis)
    await store.client.ping()
    own_redis.stop()
    model = endpoint([DOWN])
    client = breakers(on=store, recovery_seconds=20).client(0, model)
    await fail(client, ask, 3)
    with pytest.raises(EndpointRefused):
        await client.complete(ask())
    own_redis.start()
    await store.client.connection_pool.disconnect()
    deadline = time.monotonic() + 5
    while not store.report().reachable:
        assert time.monotonic() < deadline
        await store.ping()
        await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    with pytest.raises(EndpointRefused):
        await client.complete(ask())
    with pytest.raises(EndpointRefused):
        await breakers(on=store, recovery_seconds=20).client(0, model).complete(ask())
    assert model.calls == 3


async def test_healthy_endpoint_asks_the_store_at_most_once_a_second(breakers, endpoint, ask, store):
    client = breakers().client(0, endpoint([Usage(1, 1)]))
    await client.complete(ask())
    before = (await store.client.info("stats"))["total_commands_processed"]
    for _ in range(200):
        await client.complete(ask())
    assert (await store.client.info("stats"))["total_commands_processed"] - before <= 4
