"""Which day a call is charged to; the store's clock decides."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from agent_runtime.core.days import days_around
from agent_runtime.llm.client import BudgetExceeded, LedgerUnavailable
from agent_runtime.money.ledger import SpendLedger

STABLE = "support-5c9f0a1b2d"


class ShiftedStore:
    """A store whose clock is moved: only the source of the scripts differs."""

    def __init__(self, store):
        self._store = store
        self.now = 0.0

    def key(self, *parts):
        return self._store.key(*parts)

    def script(self, source):
        moved = source.replace("redis.call('TIME')", "{ARGV[#ARGV], '0'}")
        inner = self._store.script(moved)

        async def call(keys, args):
            return await inner(keys, [*args, int(self.now)])

        return call


@pytest.fixture
def at(store, live, monkeypatch):
    """A ledger at a moment that the test moves on, for the store and the pod."""
    shifted = ShiftedStore(store)
    ledger = SpendLedger(shifted, STABLE, live)

    def move(moment, pod_is_ahead=0.0):
        shifted.now = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
        monkeypatch.setattr("agent_runtime.money.ledger.time.time", lambda: shifted.now + pod_is_ahead)
        return ledger

    return move


async def test_case_10_limit_begins_anew_at_midnight_of_the_zone(at, live, payer):
    live.limit(daily_micro=1000, user_daily_micro=1000, time_zone="Europe/Berlin")
    ledger = at("2026-11-25T22:59:50")
    await ledger.reserve(payer(), 1000, 1, 60)
    with pytest.raises(BudgetExceeded) as raised:
        await ledger.reserve(payer(), 1, 1, 60)
    assert raised.value.reset_seconds == 10
    at("2026-11-25T23:00:00")
    await ledger.reserve(payer(), 1000, 1, 60)
    assert (await ledger.spend()).day == "2026-11-26"


async def test_case_10_a_call_over_midnight_is_charged_to_the_day_of_its_reservation(at, live, payer):
    live.limit(daily_micro=1000)
    ledger = at("2026-11-25T23:59:58")
    hold = await ledger.reserve(payer(), 1000, 1, 60)
    at("2026-11-26T00:00:02")
    await ledger.settle(hold, 700, 1)
    assert (await ledger.spend("2026-11-25")).spent_micro == 700
    assert (await ledger.spend()).spent_micro == 0


@pytest.mark.parametrize(
    ("zone", "begins", "last", "hours"),
    [
        ("Europe/Berlin", "2026-10-24T22:00:00", "2026-10-25T22:59:59", 25),
        ("Europe/Berlin", "2026-03-28T23:00:00", "2026-03-29T21:59:59", 23),
        ("America/New_York", "2026-11-01T04:00:00", "2026-11-02T04:59:59", 25),
    ],
)
async def test_case_10_days_on_which_clocks_change(at, live, payer, zone, begins, last, hours):
    live.limit(daily_micro=1000, time_zone=zone)
    ledger = at(begins)
    await ledger.reserve(payer(), 1000, 1, 60)
    with pytest.raises(BudgetExceeded) as raised:
        await ledger.reserve(payer(), 1, 1, 60)
    assert raised.value.reset_seconds == hours * 3600
    at(last)
    with pytest.raises(BudgetExceeded) as raised:
        await ledger.reserve(payer(), 1, 1, 60)
    assert raised.value.reset_seconds == 1


@pytest.mark.parametrize("ahead", [-3 * 3600, 3 * 3600])
async def test_the_stores_clock_decides_where_the_pods_is_wrong(at, live, payer, ahead):
    live.limit(daily_micro=1000)
    ledger = at("2026-11-25T23:00:00", pod_is_ahead=ahead)
    await ledger.reserve(payer(), 1000, 1, 60)
    assert (await ledger.spend()).day == "2026-11-25"


async def test_clocks_that_are_days_apart_refuse_money(at, live, payer):
    live.limit(daily_micro=1000)
    with pytest.raises(LedgerUnavailable, match="clocks"):
        await at("2026-11-25T23:00:00", pod_is_ahead=3 * 86_400).reserve(payer(), 1, 1, 60)


async def test_a_zone_that_is_not_known_is_utc(at, live, payer):
    live.limit(daily_micro=1000, time_zone="Mars/Olympus_Mons")
    assert (await at("2026-11-25T23:59:59").spend()).day == "2026-11-25"


async def test_today_is_the_stores_day(ledger, live):
    live.limit(time_zone="Pacific/Auckland")
    now = datetime.now(UTC).timestamp()
    days = {days_around(now + later, ZoneInfo("Pacific/Auckland"))[1].name for later in (0, 5)}
    assert (await ledger.spend()).day in days
