"""Figures of money: when they are written, and how the ledger goes on after the store has lost its data."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.live_document import LedgerDocument
from agent_api.report import RuntimeReport, SpendReport, StoreReport
from agent_api.v1alpha1.status import Spend
from agent_operator.core.facts import Reported
from agent_operator.core.spending import Occasion, next_spending, read_spend, step_micro
from tests.support.scene import START

DAY = "2030-01-01"
LIMIT = 100_000_000
LEDGER = LedgerDocument(epoch="e1", sequence=5, day=DAY, spent_micro=10_000_000)
TOLD = Spend(day=DAY, today_usd="10", remaining_usd="90", as_of=START)


def spend(micro=10_000_000, *, canary=0, day=DAY, epoch="e1", sequence=9):
    return SpendReport(day=day, spent_micro=micro, canary_micro=canary, epoch=epoch, sequence=sequence)


def of(*spends, lost=False, reachable=True, last=None):
    store = StoreReport(reachable=reachable, was_reached=True)
    reports = tuple(RuntimeReport(instance="p", store=store, spend=one, ledger_lost=lost) for one in spends or (None,))
    return Reported(reports, reports, last or spends[0] if spends else last)


def occasion(after=3600.0, limit=LIMIT, *, changed=False, nonce="fresh"):
    return Occasion(limit, changed, nonce, START + timedelta(seconds=after))


def test_the_first_figures_are_told_at_once():
    spending = next_spending(None, LedgerDocument(), of(spend(12_345_678, canary=2_000_000)), occasion(0.7))
    assert spending.told == Spend(
        day=DAY, today_usd="12.345678", remaining_usd="87.654322", canary_usd="2", as_of=START
    )
    assert spending.ledger == LedgerDocument(epoch="e1", sequence=9, day=DAY, spent_micro=12_345_678)


@pytest.mark.parametrize(
    ("spent", "after", "told"),
    [
        (14_999_999, 3600, False),
        (15_000_000, 3600, True),
        (15_000_000, 60, True),
        (15_000_000, 59, False),
        (5_000_000, 3600, True),
        (10_000_000, 99_999, False),
    ],
)
def test_figures_are_told_in_steps_of_five_percent_and_at_most_once_a_minute(spent, after, told):
    spending = next_spending(TOLD, LEDGER, of(spend(spent)), occasion(after))
    assert (spending.told != TOLD) is told
    assert (spending.ledger != LEDGER) is told


def test_what_may_not_be_told_yet_is_looked_at_again():
    assert next_spending(TOLD, LEDGER, of(spend(50_000_000)), occasion(20)).look_again == 40
    assert next_spending(TOLD, LEDGER, of(spend()), occasion(20)).look_again is None


@pytest.mark.parametrize(
    "fields", [{"changed": True}, {"limit": 200_000_000}, {"limit": None}], ids=["condition", "raised", "no limit"]
)
def test_a_condition_or_another_limit_brings_the_figures(fields):
    assert next_spending(TOLD, LEDGER, of(spend()), occasion(**fields)).told.as_of > START


def test_a_new_day_is_told():
    spending = next_spending(TOLD, LEDGER, of(spend(0, day="2030-01-02")), occasion())
    assert (spending.told.day, spending.told.today_usd, spending.told.remaining_usd) == ("2030-01-02", "0", "100")


def test_what_is_overspent_leaves_nothing_and_is_told_once():
    first = next_spending(TOLD, LEDGER, of(spend(120_000_000)), occasion())
    assert first.told.remaining_usd == "0"
    assert next_spending(first.told, first.ledger, of(spend(120_000_000)), occasion(99_999)) == (
        type(first)(first.told, first.ledger)
    )


def test_without_a_limit_a_dollar_is_a_step():
    assert (step_micro(None), step_micro(LIMIT), step_micro(3)) == (1_000_000, 5_000_000, 1)


@pytest.mark.parametrize("reported", [None, Reported()], ids=["not asked", "no answer"])
def test_without_reports_everything_stays(reported):
    spending = next_spending(TOLD, LEDGER, reported, occasion(changed=True))
    assert (spending.told, spending.ledger) == (TOLD, LEDGER)


def test_an_unreachable_store_takes_nothing_away_and_no_budget_does():
    assert next_spending(TOLD, LEDGER, of(reachable=False), occasion()).told == TOLD
    assert next_spending(TOLD, LEDGER, of(), occasion()).told is None


def test_an_older_reading_of_the_ledger_changes_nothing():
    spending = next_spending(TOLD, LEDGER, of(spend(90_000_000, sequence=4)), occasion(changed=True))
    assert (spending.told, spending.ledger) == (TOLD, LEDGER)


# A store that lost its data.


def test_a_lost_ledger_gets_a_successor_with_what_was_told():
    spending = next_spending(TOLD, LEDGER, of(lost=True), occasion())
    assert spending.ledger == LEDGER.model_copy(update={"seed": "fresh"})
    assert spending.told == TOLD


def test_the_successor_begins_with_the_most_that_is_known():
    ledger = next_spending(TOLD, LEDGER, of(lost=True, last=spend(14_000_000)), occasion()).ledger
    assert (ledger.spent_micro, ledger.epoch, ledger.seed) == (14_000_000, "e1", "fresh")
    ledger = next_spending(TOLD, LEDGER, of(lost=True, last=spend(9_000_000)), occasion()).ledger
    assert ledger.spent_micro == 10_000_000
    ledger = next_spending(TOLD, LEDGER, of(lost=True, last=spend(1, day="2030-01-02")), occasion()).ledger
    assert (ledger.day, ledger.spent_micro) == ("2030-01-02", 1)


def test_one_lost_ledger_has_one_successor():
    first = next_spending(TOLD, LEDGER, of(lost=True), occasion(nonce="one")).ledger
    assert next_spending(TOLD, first, of(lost=True), occasion(nonce="two")).ledger == first


def test_the_successor_takes_over_when_a_pod_shows_it():
    seeded = LEDGER.model_copy(update={"seed": "fresh"})
    ledger = next_spending(TOLD, seeded, of(spend(11_000_000, epoch="fresh", sequence=1)), occasion(1)).ledger
    assert ledger == LedgerDocument(epoch="fresh", sequence=1, day=DAY, spent_micro=11_000_000)


def test_a_ledger_that_was_not_lost_after_all_needs_no_successor():
    seeded = LEDGER.model_copy(update={"seed": "fresh"})
    assert next_spending(TOLD, seeded, of(spend()), occasion(1)).ledger == LEDGER


@given(st.lists(st.integers(0, 120_000_000), min_size=1, max_size=40))
def test_what_is_told_is_never_more_than_a_step_away_once_a_minute_has_passed(amounts):
    told, ledger = TOLD, LEDGER
    for minute, amount in enumerate(amounts, start=1):
        sequence = ledger.sequence + 1
        spending = next_spending(told, ledger, of(spend(amount, sequence=sequence)), occasion(60 * minute))
        told, ledger = spending.told, spending.ledger
        assert abs(ledger.spent_micro - amount) < step_micro(LIMIT)


@pytest.mark.parametrize("status", [{}, {"spend": None}, {"spend": {"day": 5}}, {"spend": "x"}])
def test_figures_edited_by_hand_are_no_figures(status):
    assert read_spend(status) is None


def test_figures_are_read_back_as_they_were_told():
    assert read_spend({"spend": TOLD.model_dump(mode="json", by_alias=True, exclude_none=True)}) == TOLD
