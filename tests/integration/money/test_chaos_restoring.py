"""After a loss, pods add what they were told to what the operator recorded: together once, and no less than is true."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent_runtime.llm.client import BudgetExceeded, LedgerUnavailable

RECORDED = 600


def today():
    return datetime.now(UTC).date().isoformat()


@pytest.fixture
async def pods(pod, live, payer):
    """Two pods of an agent of which the operator recorded 600 micro-dollars; both were told of 900, one of 950."""
    live.limit(daily_micro=1000)
    first, second = pod(), pod()
    await spend(first, payer, RECORDED)
    told = await first.spend()
    live.record(epoch=told.epoch, sequence=told.sequence, day=today(), spent_micro=RECORDED)
    await spend(second, payer, 300)
    await first.spend()
    await spend(second, payer, 50)
    return first, second


async def spend(ledger, payer, micro):
    await ledger.settle(await ledger.reserve(payer(), micro, 1, 60), micro, 1)


async def lose(ledgers, redis_server, live, name="epoch-2"):
    """Empty the store, let the pods find out, and seed as an operator that remembers nothing else."""
    redis_server.flush()
    for ledger in ledgers:
        with pytest.raises(LedgerUnavailable):
            await ledger.spend()
    seed(live, name)


def seed(live, name):
    live.record(**{**live.document.ledger.model_dump(), "seed": name})


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_all_that_pods_were_told_is_restored_whoever_comes_first(pods, redis_server, live, order):
    await lose(pods, redis_server, live)
    reports = [await pods[index].spend() for index in (*order, *order)]
    assert {report.epoch for report in reports} == {"epoch-2"}
    assert [report.spent_micro for report in reports[1:]] == [950] * 3


async def test_what_is_spent_since_the_seed_is_not_taken_for_restored(pods, redis_server, live, payer):
    first, second = pods
    await lose(pods, redis_server, live)
    await first.spend()
    await spend(first, payer, 20)
    assert (await second.spend()).spent_micro == 950 + 20
    with pytest.raises(BudgetExceeded):
        await first.reserve(payer(), 31, 1, 60)
    await first.reserve(payer(), 30, 1, 60)


async def test_pod_that_was_not_there_before_adds_nothing(pods, pod, redis_server, live):
    await lose(pods, redis_server, live)
    assert (await pod().spend()).spent_micro == RECORDED
    for known in pods:
        await known.spend()
    assert (await pod().spend()).spent_micro == 950


async def test_second_loss_restores_what_was_told_after_the_first(pods, redis_server, live, payer):
    first, second = pods
    await lose(pods, redis_server, live)
    for ledger in pods:
        await ledger.spend()
    await spend(first, payer, 30)
    live.record(epoch="epoch-2", sequence=1, day=today(), spent_micro=RECORDED)
    await lose((first,), redis_server, live, "epoch-3")
    assert (await second.spend()).spent_micro == 950
    assert (await first.spend()).spent_micro == 980


async def test_older_copy_that_was_seeded_before_is_raised_to_what_pods_were_told(own_redis, open_at, pod, live, payer):
    live.limit(daily_micro=1000)
    first, second = pod(on=open_at(own_redis)), pod(on=open_at(own_redis))
    await spend(first, payer, 100)
    told = await first.spend()
    live.record(epoch=told.epoch, sequence=told.sequence, day=today(), spent_micro=100)
    await second.spend()
    copy = own_redis.save_copy()
    await spend(second, payer, 500)
    await first.spend()
    await spend(second, payer, 50)
    own_redis.restore_copy(copy)
    for ledger in (first, second):
        with pytest.raises(LedgerUnavailable):
            await ledger.spend()
    seed(live, "epoch-2")
    assert (await first.spend()).spent_micro == 600
    assert (await second.spend()).spent_micro == 650
