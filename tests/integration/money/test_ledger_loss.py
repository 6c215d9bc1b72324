"""A store that lost what was spent: money fails closed until the operator seeds the ledger anew."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from agent_runtime.llm.client import BudgetExceeded, LedgerUnavailable


def today():
    return datetime.now(UTC).date().isoformat()


@pytest.fixture
async def recorded(ledger, live, payer):
    """A ledger of 600 of 1000 micro-dollars, as the operator knows it."""
    live.limit(daily_micro=1000)
    await ledger.settle(await ledger.reserve(payer(), 600, 1, 60), 600, 1)
    report = await ledger.spend()
    live.record(epoch=report.epoch, sequence=report.sequence, day=today(), spent_micro=600)
    return report


def seed(live, name, **changes):
    live.record(**{**live.document.ledger.model_dump(), "seed": name, **changes})


async def refused(ledger, payer):
    with pytest.raises(LedgerUnavailable, match="lost"):
        await ledger.reserve(payer(), 1, 1, 60)
    assert ledger.lost
    with pytest.raises(LedgerUnavailable):
        await ledger.spend()


async def test_a_fresh_store_begins_a_new_ledger(ledger):
    report = await ledger.spend()
    assert report.epoch
    assert (report.spent_micro, ledger.lost) == (0, False)


async def test_flushed_store_is_noticed_by_a_pod_that_knew_it(ledger, payer, recorded, redis_server, live):
    live.record()  # the operator had not written it down yet
    redis_server.flush()
    await refused(ledger, payer)


async def test_flushed_store_is_noticed_by_a_new_pod(pod, payer, recorded, redis_server):
    redis_server.flush()
    await refused(pod(), payer)


async def test_what_one_pod_noticed_holds_for_all(pod, ledger, payer, recorded, redis_server, live):
    live.record()
    redis_server.flush()
    await refused(ledger, payer)
    await refused(pod(), payer)


async def test_seed_restores_the_days_total_once_for_all_pods(pod, ledger, payer, recorded, redis_server, live):
    others = [pod(), pod()]
    await asyncio.gather(*(other.spend() for other in others))
    redis_server.flush()
    await refused(ledger, payer)
    seed(live, "epoch-2")
    with capture_logs() as logs:
        reports = await asyncio.gather(*(each.spend() for each in (ledger, *others, pod())))
    assert {(report.epoch, report.spent_micro) for report in reports} == {("epoch-2", 600)}
    assert all(report.sequence > recorded.sequence for report in reports)
    assert not ledger.lost
    assert [line["event"] for line in logs].count("ledger is restored") == 1
    await ledger.reserve(payer(), 400, 1, 60)
    with pytest.raises(BudgetExceeded):
        await others[0].reserve(payer(), 1, 1, 60)
    live.record(epoch="epoch-2", seed="epoch-2", spent_micro=1000, day=today(), sequence=1)
    assert (await pod().spend()).spent_micro == 1000


async def test_seed_never_lowers_what_the_store_knows(ledger, payer, recorded, live):
    seed(live, "epoch-2", spent_micro=100)
    assert (await ledger.spend()).spent_micro == 600
    seed(live, "epoch-3", spent_micro=700, epoch="epoch-2")
    assert (await ledger.spend()).spent_micro == 700


async def test_seed_of_yesterday_leaves_today_at_what_pods_know_of_it(pod, ledger, payer, recorded, redis_server, live):
    redis_server.flush()
    seed(live, "epoch-2", day="2026-01-01")
    new = pod()
    assert (await new.spend()).spent_micro == 0
    assert (await new.spend("2026-01-01")).spent_micro == 600
    assert (await ledger.spend()).spent_micro == 600


async def test_second_loss_needs_a_second_seed(pod, ledger, payer, recorded, redis_server, live):
    redis_server.flush()
    seed(live, "epoch-2")
    await ledger.reserve(payer(), 100, 1, 60)
    redis_server.flush()
    await refused(ledger, payer)
    await refused(pod(), payer)
    seed(live, "epoch-3", epoch="epoch-2", spent_micro=700)
    assert (await ledger.spend()).spent_micro == 700


async def test_pod_whose_live_document_is_late_accepts_the_seeded_ledger(
    pod, ledger, payer, recorded, redis_server, live
):
    late = type(live)(live.document)
    known, new = pod(live=late), pod(live=late)
    await known.spend()
    redis_server.flush()
    seed(live, "epoch-2")
    await ledger.spend()
    for behind in (known, new):
        assert (await behind.spend()).epoch == "epoch-2"
        await behind.reserve(payer(), 1, 1, 60)


@pytest.fixture
async def durable(own_redis, open_at, pod, live, payer):
    """A ledger on a server whose data can be put back."""
    live.limit(daily_micro=100_000)
    ledger = pod(on=open_at(own_redis))
    await ledger.settle(await ledger.reserve(payer(), 600, 1, 60), 600, 1)
    return ledger


async def until_reached(ledger):
    deadline = time.monotonic() + 10
    while True:
        try:
            return await ledger.spend()
        except LedgerUnavailable:
            if ledger.lost:
                raise
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_older_copy_is_noticed_even_if_others_have_moved_its_sequence_on(
    durable, own_redis, open_at, pod, payer, live
):
    other = pod(on=open_at(own_redis))
    await other.spend()
    copy = own_redis.save_copy()
    await durable.settle(await durable.reserve(payer(), 5000, 1, 60), 5000, 1)
    own_redis.restore_copy(copy)
    # The other pod was told of nothing that is gone, and goes on.
    await until_reached(other)
    for _ in range(5):
        await other.settle(await other.reserve(payer(), 10, 1, 60), 10, 1)
    with pytest.raises(LedgerUnavailable, match="lost"):
        await until_reached(durable)
    await refused(other, payer)
    live.record(seed="epoch-2", day=today(), spent_micro=5600)
    assert (await other.spend()).spent_micro == 5600
    assert (await durable.spend()).spent_micro == 5600


async def test_older_copy_is_noticed_by_a_new_pod_from_the_operators_record(
    durable, own_redis, open_at, pod, payer, live
):
    copy = own_redis.save_copy()
    await durable.settle(await durable.reserve(payer(), 5000, 1, 60), 5000, 1)
    report = await durable.spend()
    live.record(epoch=report.epoch, sequence=report.sequence, day=today(), spent_micro=5600)
    own_redis.restore_copy(copy)
    with pytest.raises(LedgerUnavailable, match="lost"):
        await until_reached(pod(on=open_at(own_redis)))


async def test_restart_without_loss_is_none(durable, own_redis, payer):
    own_redis.stop()
    own_redis.start()
    assert (await until_reached(durable)).spent_micro == 600
    await durable.reserve(payer(), 1, 1, 60)


async def test_case_9_outage_fails_closed_at_once_and_loses_no_settlement(durable, own_redis, payer):
    holds = [await durable.reserve(payer(f"run-{n}"), 1000, 1, 60) for n in range(20)]
    own_redis.stop()
    began = time.monotonic()
    for hold in holds:
        await durable.settle(hold, 300, 1)
    for _ in range(300):
        with pytest.raises(LedgerUnavailable, match="store"):
            await durable.reserve(payer(), 1000, 1, 60)
    assert time.monotonic() - began < 3
    assert not durable.lost
    own_redis.start()
    await until_reached(durable)
    await durable.tend()
    assert (await durable.spend()).spent_micro == 600 + 20 * 300


async def test_reservation_whose_answer_was_lost_is_given_back(durable, own_redis, payer, store):
    own_redis.freeze()
    with pytest.raises(LedgerUnavailable):
        await durable.reserve(payer(), 1000, 1, 60)
    own_redis.thaw()
    await until_reached(durable)
    await durable.aclose()
    assert (await until_reached(durable)).spent_micro == 600


async def test_settlement_whose_answer_was_lost_is_made_once(durable, own_redis, payer):
    hold = await durable.reserve(payer(), 1000, 1, 60)
    own_redis.freeze()
    await durable.settle(hold, 300, 1)
    own_redis.thaw()
    await until_reached(durable)
    for _ in range(2):
        await durable.tend()
    assert (await durable.spend()).spent_micro == 900


async def test_settlement_after_a_loss_waits_for_the_seed_and_is_counted_then(
    ledger, payer, recorded, redis_server, live
):
    hold = await ledger.reserve(payer(), 400, 1, 60)
    redis_server.flush()
    await ledger.settle(hold, 250, 1)
    seed(live, "epoch-2")
    await ledger.tend()
    assert (await ledger.spend()).spent_micro == 850


async def test_unlimited_agents_go_on_while_the_ledger_is_lost(ledger, payer, recorded, redis_server, live):
    redis_server.flush()
    live.limit()
    await ledger.settle(ledger.unreserved(payer()), 100, 1)
    assert ledger.lost
    seed(live, "epoch-2")
    await ledger.tend()
    assert (await ledger.spend()).spent_micro == 700
