"""What pods report: which of it counts, and what it tells people, in words that do not change from poll to poll."""

from __future__ import annotations

import pytest

from agent_api.live_document import BudgetsDocument, LedgerDocument
from agent_api.report import BreakerReport, RuntimeReport, SpendReport, StoreReport
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.facts import CanarySpend, Reported
from agent_operator.core.reports import (
    canary_spend,
    carried,
    is_lost,
    is_news,
    is_plausible,
    pick_spend,
    problems_of,
    with_told_texts,
)
from agent_operator.core.snapshot import Problem
from tests.support.agents import minimal_spec

BUDGETS = BudgetsDocument(daily_micro=100_000_000)
LEDGER = LedgerDocument(epoch="e1", sequence=5, day="2030-01-01", spent_micro=3)


def spend(micro=0, *, canary=0, day="2030-01-01", epoch="e1", sequence=9, revision=""):
    return SpendReport(
        day=day, spent_micro=micro, canary_micro=canary, epoch=epoch, sequence=sequence, canary_revision=revision
    )


def report(**fields):
    return RuntimeReport(instance="pod", **{"store": StoreReport(reachable=True, was_reached=True), **fields})


def away(reason="connection refused"):
    return report(store=StoreReport(reachable=False, was_reached=True, reason=reason))


def reported(*reports, last=None):
    return Reported(reports, reports, last or next((r.spend for r in reports if r.spend), None))


def problems(*reports, ledger=LEDGER, **spec):
    parsed = AgentDeploymentSpec.model_validate(minimal_spec(**spec))
    return problems_of(reported(*reports), parsed, BUDGETS, ledger)


@pytest.mark.parametrize(
    ("fields", "plausible"),
    [
        ({}, True),
        ({"day": "tomorrow"}, False),
        ({"day": "2030-01-01 " * 9}, False),
        ({"epoch": "x" * 65}, False),
        ({"micro": 10**16}, False),
        ({"sequence": 10**16}, False),
    ],
)
def test_figures_that_no_ledger_has_are_not_believed(fields, plausible):
    assert is_plausible(report(spend=spend(**fields))) is plausible
    assert is_plausible(report())


def test_the_newest_figures_of_the_known_ledger_count():
    reports = [report(spend=spend(n, sequence=n)) for n in (4, 7, 6)] + [report(), report(spend=spend(99, epoch="e0"))]
    assert pick_spend(reports, LEDGER).spent_micro == 7
    assert pick_spend([report()], LEDGER) is None
    seeded = LEDGER.model_copy(update={"seed": "e2"})
    assert pick_spend([*reports, report(spend=spend(1, epoch="e2", sequence=1))], seeded).epoch == "e2"


@pytest.mark.parametrize(
    ("others", "lost"),
    [((), True), ((spend(),), False), ((spend(epoch="e0"),), True), ((spend(epoch="e2"),), False)],
)
def test_a_ledger_is_lost_unless_a_pod_still_has_it_or_its_successor(others, lost):
    reports = [report(ledger_lost=True), *(report(spend=other) for other in others)]
    assert is_lost(reports, LEDGER.model_copy(update={"seed": "e2"})) is lost
    assert not is_lost([report()], LEDGER)


# Conditions.


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (away(), "StoreUnavailable", ["connection refused", "component=store"]),
        (report(ledger_lost=True), "LedgerLost", ["two minutes"]),
        (report(budget_exhausted=True), "BudgetExhausted", ["100 USD", "midnight (UTC)", "spec.budgets.daily.costUSD"]),
        (report(breakers=(BreakerReport(model="m1", seconds=31.5),)), "ModelCircuitOpen", ["m1", "every 60s"]),
        (report(tools_unavailable=("kb", "a")), "ToolsUnavailable", ["a, kb", "spec.tools"]),
    ],
)
def test_each_cause_is_a_condition_with_the_way_out(said, kind, words):
    (problem,) = problems(said)
    assert problem.type == kind
    assert not [word for word in words if word not in problem.message]


def test_a_sound_agent_has_no_problem():
    assert problems(report(spend=spend(5))) == ()


def test_how_long_a_breaker_stays_open_does_not_change_the_text():
    texts = {problems(report(breakers=(BreakerReport(model="m1", seconds=s),))) for s in (60, 3.25, 0)}
    assert len(texts) == 1


def test_many_models_are_cut_short():
    said = report(breakers=tuple(BreakerReport(model=f"m{n:02}", seconds=1) for n in range(20)))
    assert "m07 and 12 more" in problems(said)[0].message


def test_the_advice_names_the_secret_of_the_spec():
    (problem,) = problems(away(), store={"urlSecretRef": {"name": "redis", "key": "u"}})
    assert "Secret redis (key u)" in problem.message


def test_another_error_of_the_same_store_does_not_change_the_condition():
    first, second = problems(away("refused"))[0], problems(away("timed out"))[0]
    stands = [{"type": first.type, "status": "True", "reason": first.reason, "message": first.message}]
    assert with_told_texts((second,), stands) == (first,)
    assert with_told_texts((second,), [{**stands[0], "status": "False"}]) == (second,)
    assert with_told_texts((second,), [{**stands[0], "reason": "NeverReached"}]) == (second,)
    assert with_told_texts((second,), []) == (second,)


def test_what_was_told_is_told_on_while_nobody_was_asked():
    conditions = [
        {"type": "BudgetExhausted", "status": "True", "reason": "DailyBudgetSpent", "message": "m"},
        {"type": "ToolsUnavailable", "status": "False", "reason": "NoAnswer", "message": "m"},
        {"type": "NameConflict", "status": "True", "reason": "NameTaken", "message": "m"},
    ]
    assert carried(conditions) == (Problem("BudgetExhausted", "DailyBudgetSpent", "m"),)


# The canary's share.


def test_the_share_is_a_part_of_the_day():
    said = reported(report(spend=spend(50_000_000, canary=20_000_000)))
    found = canary_spend(said, LEDGER, BUDGETS, "v2")
    assert found == CanarySpend("2030-01-01", 20_000_000, 20_000_000)
    assert found.exhausted


def test_what_another_canary_spent_does_not_count():
    said = reported(report(spend=spend(5, canary=5, revision="v1")))
    assert canary_spend(said, LEDGER, BUDGETS, "v2") is None
    assert canary_spend(said, LEDGER, BUDGETS, "v1").spent_micro == 5


def test_without_figures_nobody_knows_and_without_a_limit_nothing_is_exhausted():
    assert canary_spend(None, LEDGER, BUDGETS, "v2") is None
    assert canary_spend(reported(report()), LEDGER, BUDGETS, "v2") is None
    assert not canary_spend(None, LEDGER, BudgetsDocument(), "v2").exhausted


# News.


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (report(), report(), False),
        (report(), away(), True),
        (report(), report(tools_unavailable=("kb",)), True),
        (report(), report(ledger_lost=True), True),
        (report(), report(budget_exhausted=True), True),
        (report(breakers=(BreakerReport(model="m", seconds=9),)), report(), True),
        (
            report(breakers=(BreakerReport(model="m", seconds=9),)),
            report(breakers=(BreakerReport(model="m", seconds=1),)),
            False,
        ),
        (report(), report(spend=spend(0)), True),
        (report(spend=spend(0)), report(spend=spend(999_999, sequence=99)), False),
        (report(spend=spend(0)), report(spend=spend(1_000_000)), True),
        (report(spend=spend(0)), report(spend=spend(0, day="2030-01-02")), True),
        (report(spend=spend(0)), report(spend=spend(0, epoch="e2")), True),
        (report(spend=spend(0, canary=19_999_999)), report(spend=spend(0, canary=20_000_000)), True),
    ],
)
def test_only_what_may_change_a_decision_is_news(before, after, news):
    assert is_news(reported(before), reported(after), BUDGETS) is news


def test_the_first_answer_is_news_and_silence_is_not():
    assert is_news(None, reported(report()), BUDGETS)
    assert not is_news(None, None, BUDGETS)


def test_without_a_limit_twenty_cents_are_news():
    before, after = (reported(report(spend=spend(micro))) for micro in (0, 200_000))
    assert is_news(before, after, BudgetsDocument())
    assert not is_news(before, before, BudgetsDocument())
