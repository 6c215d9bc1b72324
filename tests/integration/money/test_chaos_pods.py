"""Three pods, one budget, 400 runs at a time: pods are killed, the store goes away or loses its data."""

from __future__ import annotations

import pytest

from tests.support.billing import running_biller
from tests.support.budget_chaos import MICRO_A_RUN, Chaos, check_books, until
from tests.support.runtime_fixtures import http, parent
from tests.support.runtimes import Runtimes
from tests.support.stand_in_operator import running_operator

__all__ = ["http", "parent"]


@pytest.fixture
async def chaos(parent, tmp_path, http, own_redis):
    """Makes pods with a budget for so many runs."""
    runtimes = Runtimes(parent, tmp_path)
    async with running_biller(seed=4) as biller:
        with runtimes.stack:
            yield lambda runs: Chaos(runtimes, own_redis, biller, http, runs * MICRO_A_RUN)


@pytest.mark.timeout(240)
async def test_killed_pods_and_an_outage_of_the_store_overspend_nothing_and_lose_nothing(chaos):
    world = chaos(1200)
    await world.start(3)
    async with world.callers(400):
        await world.until_billed(0.1)
        world.redis.stop()
        await world.kill_one()
        await world.until_ended("503 ledger-unavailable", 400)
        world.redis.start()
        await world.until_billed(0.4)
        await world.kill_one()
        await world.until_ended("429 budget-exceeded", 400)
    books = await world.settled()
    assert world.highest <= world.daily_micro
    check_books(world, books)
    world.end_leases()
    await until(lambda: world.holds_listed(0))
    assert world.books().total == books.total, "what no pod was left to settle is charged in full"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("loss", ["flushed", "older copy"])
async def test_store_that_lost_its_data_refuses_money_until_it_is_seeded_and_costs_at_most_a_step(chaos, loss):
    world = chaos(300)
    await world.start(3)
    async with running_operator(world) as operator, world.callers(40):
        await world.until_billed(0.15)
        copy = world.redis.save_copy()
        await world.until_billed(0.5)
        operator.restart()
        operator.delivers.clear()
        if loss == "flushed":
            world.redis.flush()
        else:
            world.redis.restore_copy(copy)
        await until(world.is_lost_on_every_pod)
        await until(world.is_idle)
        billed = world.biller.bills.total()
        await world.until_ended("503 ledger-unavailable", 100)
        await until(operator.has_seeded)
        assert world.biller.bills.total() == billed, "a lost ledger let a run through"
        operator.delivers.set()
        await world.until_ended("429 budget-exceeded", 100)
    spent = world.biller.bills.total()
    # The books err high: what was held when the data was lost is in what is restored, and is settled once more.
    assert billed < spent <= world.books().total
    assert spent <= world.daily_micro, "the budget was overspent"
    assert operator.seeds == 1
