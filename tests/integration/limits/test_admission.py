"""Request limits over all pods."""

from __future__ import annotations

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from agent_api.live_document import RateLimitsDocument
from agent_runtime.limits.admission import Admission, Limited
from agent_runtime.limits.scripts import ADMIT, PART_SECONDS

MINUTE = 60


@pytest.fixture
def admission(store):
    return Admission(store)


class ShiftedStore:
    """A store whose clock the test moves."""

    def __init__(self, store):
        self._store = store
        self.client = store.client
        self.key = store.key
        self.now = 1_764_000_000.0

    def script(self, source):
        inner = self._store.script(source.replace("redis.call('TIME')", "{ARGV[#ARGV], '0'}"))

        async def call(keys, args):
            return await inner(keys, [*args, self.now])

        return call


@pytest.fixture
def clock(store):
    return ShiftedStore(store)


async def outcomes(admission, count, limits, user="ann", prefix="run"):
    async def one(number):
        try:
            return await admission.admit(f"{prefix}-{number}", user, limits, 30)
        except Limited as limited:
            return limited

    results = await asyncio.gather(*(one(number) for number in range(count)))
    return [result for result in results if not isinstance(result, Limited)], [
        result for result in results if isinstance(result, Limited)
    ]


@pytest.mark.parametrize(
    ("limits", "scope"),
    [
        (RateLimitsDocument(requests_per_minute=50), "agent"),
        (RateLimitsDocument(per_user_per_minute=50), "user"),
        (RateLimitsDocument(max_concurrent=50), "concurrency"),
    ],
)
async def test_of_400_concurrent_runs_exactly_the_limit_is_admitted(admission, store, limits, scope):
    second_pod = Admission(store)
    halves = await asyncio.gather(
        outcomes(admission, 200, limits, prefix="a"), outcomes(second_pod, 200, limits, prefix="b")
    )
    assert sum(len(admitted) for admitted, _ in halves) == 50
    refused = [limited for _, each in halves for limited in each]
    assert {limited.scope for limited in refused} == {scope}
    assert all(0 < limited.retry_after <= MINUTE + PART_SECONDS for limited in refused)


async def test_users_are_counted_apart(admission):
    limits = RateLimitsDocument(per_user_per_minute=1)
    await admission.admit("run-1", "ann", limits, 30)
    await admission.admit("run-2", "bob", limits, 30)
    with pytest.raises(Limited, match="perUserPerMinute"):
        await admission.admit("run-3", "ann", limits, 30)


async def test_case_19_refused_runs_do_not_count(clock):
    admission = Admission(clock)
    limits = RateLimitsDocument(requests_per_minute=2, per_user_per_minute=1)
    await admission.admit("run-1", "ann", limits, 30)
    for number in range(20):
        with pytest.raises(Limited) as raised:
            await admission.admit(f"more-{number}", "ann", limits, 30)
        assert raised.value.scope == "user"
    await admission.admit("run-2", "bob", limits, 30)


async def test_no_minute_ever_holds_more_than_the_limit(clock):
    admission = Admission(clock)
    limits = RateLimitsDocument(requests_per_minute=10)
    admitted = []
    for step in range(600):
        clock.now += 0.5
        try:
            await admission.admit(f"run-{step}", "ann", limits, 30)
            admitted.append(clock.now)
        except Limited:
            pass
    for begin in admitted:
        assert sum(begin <= moment < begin + MINUTE for moment in admitted) <= 10
    assert len(admitted) >= 10 * 600 * 0.5 / (MINUTE + PART_SECONDS)


async def test_after_retry_after_a_run_is_admitted(clock):
    admission = Admission(clock)
    limits = RateLimitsDocument(requests_per_minute=3)
    for number in range(3):
        clock.now += 7.3
        await admission.admit(f"run-{number}", "ann", limits, 30)
    with pytest.raises(Limited) as raised:
        await admission.admit("early", "ann", limits, 30)
    clock.now += raised.value.retry_after - 0.01
    with pytest.raises(Limited):
        await admission.admit("early", "ann", limits, 30)
    clock.now += 0.02
    await admission.admit("late", "ann", limits, 30)


async def test_released_slot_is_free(admission):
    limits = RateLimitsDocument(max_concurrent=1)
    for number in range(5):
        ticket = await admission.admit(f"run-{number}", "ann", limits, 30)
        with pytest.raises(Limited):
            await admission.admit("other", "ann", limits, 30)
        await admission.release(ticket)


async def test_case_19_slot_of_a_killed_pod_heals_by_its_lease(clock):
    admission = Admission(clock)
    limits = RateLimitsDocument(max_concurrent=1)
    await admission.admit("killed", "ann", limits, 30)
    clock.now += 29
    with pytest.raises(Limited):
        await admission.admit("next", "ann", limits, 30)
    clock.now += 2
    await admission.admit("next", "ann", limits, 30)


async def test_case_19_release_survives_the_cancellation_of_its_caller(admission, store):
    limits = RateLimitsDocument(max_concurrent=1)
    for number in range(20):
        ticket = await admission.admit(f"run-{number}", "ann", limits, 30)
        task = asyncio.create_task(admission.release(ticket))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        deadline = time.monotonic() + 5
        while await store.client.zcard(store.key("limits", "slots")):
            assert time.monotonic() < deadline


async def test_case_19_admission_cancelled_under_way_leaks_no_slot(admission, store):
    limits = RateLimitsDocument(max_concurrent=100)
    for number in range(50):
        task = asyncio.create_task(admission.admit(f"run-{number}", "ann", limits, 30))
        await asyncio.sleep(0.0001 * (number % 5))
        task.cancel()
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        if not isinstance(result, BaseException):
            await admission.release(result)
    deadline = time.monotonic() + 5
    while await store.client.zcard(store.key("limits", "slots")):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_the_same_run_occupies_one_slot(admission, store):
    limits = RateLimitsDocument(max_concurrent=2)
    for _ in range(5):
        await admission.admit("run-1", "ann", limits, 30)
    assert await store.client.zcard(store.key("limits", "slots")) == 1


async def test_store_away_admits_and_says_so_once(own_redis, open_at):
    store = open_at(own_redis)
    admission = Admission(store)
    limits = RateLimitsDocument(requests_per_minute=1, max_concurrent=1)
    leaked = await admission.admit("run-0", "ann", limits, 300)
    own_redis.stop()
    with capture_logs() as logs:
        began = time.monotonic()
        await admission.release(leaked)
        admitted, refused = await outcomes(admission, 200, limits)
        assert (len(admitted), refused) == (200, [])
        assert time.monotonic() - began < 3
    assert [line["event"] for line in logs if "limits" in line["event"]] == [
        "request limits are not enforced: the store is away"
    ]
    own_redis.start()
    deadline = time.monotonic() + 5
    while not store.report().reachable:
        assert time.monotonic() < deadline
        await store.ping()
        await asyncio.sleep(0.05)
    # The slot that could not be freed during the outage is free now.
    await admission.admit("after", "bob", RateLimitsDocument(max_concurrent=1), 300)
    with pytest.raises(Limited):
        await admission.admit("more", "bob", RateLimitsDocument(max_concurrent=1), 300)


async def test_no_limits_need_no_store(own_redis, open_at):
    own_redis.stop()
    admission = Admission(open_at(own_redis))
    with capture_logs() as logs:
        await admission.release(await admission.admit("run-1", "ann", RateLimitsDocument(), 30))
    assert logs == []


async def test_keys_expire_and_name_no_user(admission, store):
    await admission.admit(
        "run-1", "ann", RateLimitsDocument(requests_per_minute=5, per_user_per_minute=5, max_concurrent=5), 30
    )
    keys = [key async for key in store.client.scan_iter("*")]
    assert len(keys) == 3
    for key in keys:
        assert 0 < await store.client.ttl(key) <= 64
        assert b"ann" not in key
    assert "TIME" in ADMIT
