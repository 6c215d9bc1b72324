"""The rules: when a canary fails, passes, is held up, and what people read about it."""

import math
from dataclasses import dataclass, replace

import pytest

from agent_api.v1alpha1.status import Verdict
from agent_operator.core.analysis.betting import begin_step, initial_evidence, log_fail, observe
from agent_operator.core.analysis.evidence import Counts, Evidence, Margin
from agent_operator.core.analysis.verdict import Judgement, MetricEvidence, judge

MARGIN = Margin(0.02)
HISTORY = (4_900, 100)


def after(looks: int, stable: Counts, canary: Counts, start: Evidence | None = None) -> Evidence:
    evidence = start or initial_evidence(HISTORY)
    for _ in range(looks):
        evidence = observe(evidence, stable, canary, MARGIN)
    return evidence


GOOD = after(40, (98, 2), (49, 1))
BAD = after(10, (98, 2), (40, 10))
EARLY = after(2, (98, 2), (10, 0))
ON_MARGIN = after(40, (98, 2), (48, 2))
NOTHING = initial_evidence(HISTORY)


def error_rate(evidence: Evidence) -> MetricEvidence:
    return MetricEvidence("errorRate", evidence, MARGIN)


@dataclass(frozen=True)
class Look:
    """What judge is asked beside the evidence; by default nothing holds a Pass up."""

    units: int = 500
    min_samples: int = 50
    elapsed_s: float = 60.0

    def judge(self, *metrics: MetricEvidence) -> Judgement:
        return judge(
            metrics,
            unit="conversations",
            step_canary_units=self.units,
            min_samples=self.min_samples,
            elapsed_s=self.elapsed_s,
            max_duration_s=3_600.0,
            alpha=0.05,
        )


OVER = 3_600.0
OUTAGE = after(8, (25, 25), (25, 25), GOOD)
WORSE_NOW = after(1, (98, 2), (46, 4), begin_step(GOOD))
NO_STABLE_NOW = after(3, (0, 0), (49, 1), begin_step(GOOD))
UNKNOWN_HISTORY = after(40, (25, 25), (30, 20), initial_evidence(None))


@pytest.mark.parametrize(
    ("evidence", "look", "verdict", "message"),
    [
        (GOOD, Look(), Verdict.PASS, "not worse than stable"),
        (GOOD, Look(elapsed_s=OVER), Verdict.PASS, "not worse than stable"),
        (GOOD, Look(49), Verdict.INSUFFICIENT_DATA, "fewer canary conversations in this step"),
        (GOOD, Look(50), Verdict.PASS, "not worse"),
        (GOOD, Look(0, 0), Verdict.INSUFFICIENT_DATA, "fewer canary conversations"),
        (GOOD, Look(1, 0), Verdict.PASS, "not worse"),
        (BAD, Look(), Verdict.FAIL, "errorRate: canary 20.0 % of 500 conversations, stable 2.0 % of 1000"),
        (BAD, Look(0, 50), Verdict.FAIL, "worse by more than the margin"),
        (BAD, Look(elapsed_s=OVER), Verdict.FAIL, "worse by more than the margin"),
        (EARLY, Look(), Verdict.INSUFFICIENT_DATA, "errorRate: the evidence does not suffice yet"),
        (ON_MARGIN, Look(), Verdict.INSUFFICIENT_DATA, "does not suffice yet"),
        (ON_MARGIN, Look(elapsed_s=OVER - 1.0), Verdict.INSUFFICIENT_DATA, "does not suffice yet"),
        (ON_MARGIN, Look(elapsed_s=OVER), Verdict.INCONCLUSIVE, "no verdict within maxDuration: errorRate"),
        (NOTHING, Look(), Verdict.INSUFFICIENT_DATA, "does not suffice yet"),
        (NOTHING, Look(0, 0, OVER), Verdict.INCONCLUSIVE, "fewer canary conversations"),
        (GOOD, Look(0, 50, OVER), Verdict.INCONCLUSIVE, "fewer canary conversations"),
        (WORSE_NOW, Look(), Verdict.INSUFFICIENT_DATA, "beyond the margin in this step"),
        (begin_step(GOOD), Look(), Verdict.INSUFFICIENT_DATA, "no conversations in this step"),
        (NO_STABLE_NOW, Look(), Verdict.INSUFFICIENT_DATA, "no conversations in this step"),
        (OUTAGE, Look(), Verdict.INSUFFICIENT_DATA, "stable itself is far off its history"),
        (UNKNOWN_HISTORY, Look(), Verdict.PASS, "not worse"),
    ],
)
def test_one_metric_is_judged_by_the_rules(evidence: Evidence, look: Look, verdict: Verdict, message: str) -> None:
    judgement = look.judge(error_rate(evidence))
    assert judgement.verdict is verdict
    assert message in judgement.message


def test_a_pass_is_given_again_once_stable_is_back_to_normal() -> None:
    recovered = after(20, (98, 2), (49, 1), OUTAGE)
    assert Look().judge(error_rate(recovered)).verdict is Verdict.PASS


@pytest.mark.parametrize(("history", "verdict"), [((80, 20), Verdict.PASS), ((97, 3), Verdict.INSUFFICIENT_DATA)])
def test_stable_is_off_at_three_times_its_history_and_ten_percent(history: Counts, verdict: Verdict) -> None:
    evidence = after(60, (80, 20), (80, 20), initial_evidence(history))
    wide = replace(error_rate(evidence), margin=Margin(0.05))
    passed = replace(wide, evidence=replace(evidence, pass_peak=10.0))
    assert Look().judge(passed).verdict is verdict


def test_five_percent_is_no_outage_even_after_a_flawless_history() -> None:
    evidence = replace(after(60, (95, 5), (95, 5), initial_evidence((5_000, 0))), pass_peak=10.0)
    assert Look().judge(error_rate(evidence)).verdict is Verdict.PASS


def test_no_metric_and_no_gating_metric_never_pass() -> None:
    assert Look().judge().verdict is Verdict.INSUFFICIENT_DATA
    assert Look(elapsed_s=OVER).judge().verdict is Verdict.INCONCLUSIVE
    lone = replace(error_rate(GOOD), gating=False)
    assert Look().judge(lone).verdict is Verdict.INSUFFICIENT_DATA


def test_a_metric_that_does_not_gate_holds_nothing_up_but_can_fail() -> None:
    side = MetricEvidence("toolFailureRate", EARLY, MARGIN, gating=False)
    assert Look().judge(error_rate(GOOD), side).verdict is Verdict.PASS
    judgement = Look().judge(error_rate(GOOD), replace(side, evidence=BAD))
    assert (judgement.verdict, judgement.cause) == (Verdict.FAIL, "toolFailureRate")
    assert [row.verdict for row in judgement.metrics] == [Verdict.PASS, Verdict.FAIL]


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (after(1, (98, 2), (17, 3)), Verdict.INSUFFICIENT_DATA),
        (after(1, (98, 2), (16, 3)), Verdict.PASS),
        (after(1, (98, 2), (20, 0)), Verdict.PASS),
        (NOTHING, Verdict.PASS),
    ],
    ids=["beyond the margin", "too few to tell", "within the margin", "nothing seen"],
)
def test_a_metric_without_proof_holds_a_pass_up_only_while_it_shows_a_worse_canary(
    seen: Evidence, verdict: Verdict
) -> None:
    later = MetricEvidence("laterErrorRate", seen, MARGIN, proves=False)
    judgement = Look().judge(error_rate(GOOD), later)
    assert judgement.verdict is verdict
    assert judgement.metrics[1].pass_percent is None


def test_every_gating_metric_must_pass_and_the_missing_one_is_named() -> None:
    other = MetricEvidence("toolFailureRate", EARLY, MARGIN)
    judgement = Look().judge(error_rate(GOOD), other)
    assert (judgement.verdict, judgement.cause) == (Verdict.INSUFFICIENT_DATA, "toolFailureRate")


def worth(e_value: float) -> Evidence:
    """Evidence whose Fail side holds exactly this e-value."""
    wealth = tuple(log + math.log(e_value) for log in NOTHING.fail_wealth)
    return replace(NOTHING, fail_wealth=wealth)


@pytest.mark.parametrize(
    ("first", "second", "fails"),
    [(26.0, 1.0, False), (26.5, 1.0, True), (1.0, 76.0, False), (1.0, 78.0, True), (20.1, 20.1, True)],
)
def test_a_fail_is_the_weighted_average_over_all_metrics(first: float, second: float, fails: bool) -> None:
    metrics = (
        replace(error_rate(worth(first)), weight=0.3),
        MetricEvidence("toolFailureRate", worth(second), MARGIN, weight=0.1),
    )
    assert (Look().judge(*metrics).verdict is Verdict.FAIL) is fails


def test_the_cause_of_a_fail_is_the_largest_weighted_part() -> None:
    metrics = (
        replace(error_rate(worth(50.0)), weight=0.3),
        MetricEvidence("toolFailureRate", worth(100.0), MARGIN, weight=0.1),
    )
    assert Look().judge(*metrics).cause == "errorRate"


def test_a_report_says_what_was_counted_and_how_far_the_evidence_is() -> None:
    row = Look().judge(error_rate(ON_MARGIN)).metrics[0]
    assert row.canary == pytest.approx(0.04)
    assert row.stable == pytest.approx(0.02)
    assert (row.canary_requests, row.stable_requests) == (2_000, 4_000)
    assert row.fail_percent < 100
    assert row.pass_percent < 100
    assert row.estimate is not None
    assert row.estimate.low <= 0.02 <= row.estimate.high


def test_a_report_of_nothing_shows_nothing() -> None:
    row = Look().judge(error_rate(NOTHING)).metrics[0]
    assert (row.canary, row.stable, row.estimate, row.requests_to_go) == (None, None, None, None)
    assert (row.fail_percent, row.pass_percent) == (0, 0)


def test_evidence_is_full_only_when_the_bar_is_reached() -> None:
    assert Look().judge(error_rate(worth(19.9))).metrics[0].fail_percent == 99
    full = Look().judge(error_rate(worth(20.1)))
    assert (full.metrics[0].fail_percent, full.metrics[0].verdict) == (100, Verdict.FAIL)
    assert Look().judge(error_rate(GOOD)).metrics[0].pass_percent == 100


def test_an_undecided_interval_holds_the_margin_and_a_decided_one_need_not() -> None:
    failed = Look().judge(error_rate(BAD)).metrics[0].estimate
    assert failed is not None
    assert failed.low > 0.02
    early = Look().judge(error_rate(EARLY)).metrics[0].estimate
    assert early is not None
    assert early.low <= 0.02 <= early.high


def test_a_forecast_ends_with_the_verdict_and_never_undercuts_min_samples() -> None:
    early = Look(20).judge(error_rate(EARLY)).metrics[0].requests_to_go
    assert early is not None
    assert early > 100
    assert Look(20, 100_000).judge(error_rate(EARLY)).metrics[0].requests_to_go == 99_980
    assert Look(30).judge(error_rate(GOOD)).metrics[0].requests_to_go == 20
    assert Look().judge(error_rate(GOOD)).metrics[0].requests_to_go is None
    assert Look().judge(error_rate(BAD)).metrics[0].requests_to_go is None


def test_a_canary_that_looks_worse_is_forecast_towards_its_fail() -> None:
    doubtful = after(2, (98, 2), (46, 4))
    assert log_fail(doubtful) < math.log(20.0)
    row = Look().judge(error_rate(doubtful)).metrics[0]
    assert row.requests_to_go is not None
