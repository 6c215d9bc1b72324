"""What people see: difference, interval and forecast."""

import math
from random import Random

import pytest

from agent_operator.core.analysis.betting import Side, initial_evidence, log_fail, log_pass, observe
from agent_operator.core.analysis.estimate import Estimate, estimate_of, requests_to_go, round_up
from agent_operator.core.analysis.evidence import Counts, Evidence, Margin

MARGIN = Margin(0.02)
BAR = math.log(20.0)


def after(looks: int, stable: Counts, canary: Counts, margin: Margin = MARGIN) -> Evidence:
    evidence = initial_evidence((980, 20))
    for _ in range(looks):
        evidence = observe(evidence, stable, canary, margin)
    return evidence


def test_nothing_is_estimated_before_the_first_block() -> None:
    assert estimate_of(after(5, (50, 0), (0, 0)), MARGIN, 0.05) is None


def test_the_estimate_is_the_difference_of_the_rates() -> None:
    estimate = estimate_of(after(20, (98, 2), (45, 5)), MARGIN, 0.05)
    assert estimate is not None
    assert estimate.difference == pytest.approx(0.08)
    assert estimate.low < 0.08 < estimate.high


def test_the_interval_narrows_to_about_a_point_at_two_thousand_requests() -> None:
    estimate = estimate_of(after(40, (147, 3), (49, 1)), MARGIN, 0.05)
    assert estimate is not None
    assert 0.009 < (estimate.high - estimate.low) / 2.0 < 0.013


def test_the_interval_of_one_block_is_that_of_the_formula() -> None:
    estimate = estimate_of(after(1, (98, 2), (45, 5)), MARGIN, 0.05)
    stable, canary = (3.0 / 102.0) * (99.0 / 102.0), (6.0 / 52.0) * (46.0 / 52.0)
    weight = 1.0 / (1.0 / 50.0 + 1.0 / 100.0)
    variance = weight**2 * (canary / 50.0 + stable / 100.0)
    t2 = (0.02 / canary) ** 2
    radius = math.sqrt((variance + 1.0 / t2) * math.log((1.0 + variance * t2) / 0.05**2)) / weight
    assert estimate is not None
    assert estimate.high - estimate.difference == pytest.approx(radius, rel=1e-6)


def test_no_error_seen_is_not_certainty() -> None:
    estimate = estimate_of(after(4, (50, 0), (25, 0)), MARGIN, 0.05)
    assert estimate is not None
    assert estimate.high > 0.02


def test_the_interval_misses_the_truth_in_few_rollouts_at_any_look_from_fifty_requests_on() -> None:
    random, missed = Random(5), 0
    for _ in range(60):
        evidence, hit = initial_evidence((980, 20)), True
        for _ in range(60):
            failures = [sum(random.random() < 0.02 for _ in range(25)) for _ in range(2)]
            evidence = observe(evidence, (25 - failures[0], failures[0]), (25 - failures[1], failures[1]), MARGIN)
            estimate = estimate_of(evidence, MARGIN, 0.05)
            assert estimate is not None
            if evidence.total.canary_requests >= 50:
                hit = hit and estimate.low <= 0.0 <= estimate.high
        missed += not hit
    assert missed <= 7


def test_an_interval_without_margin_is_finite() -> None:
    estimate = estimate_of(after(4, (98, 2), (49, 1), Margin(0.0)), Margin(0.0), 0.05)
    assert estimate is not None
    assert math.isfinite(estimate.low)


def test_an_interval_is_widened_to_hold_a_number_only_where_needed() -> None:
    assert Estimate(0.0, -0.01, 0.01).holding(0.02) == Estimate(0.0, -0.01, 0.02)
    assert Estimate(0.0, -0.01, 0.03).holding(0.02) == Estimate(0.0, -0.01, 0.03)


def test_a_forecast_exists_only_on_the_side_where_the_estimate_lies() -> None:
    worse = after(2, (48, 2), (8, 2))
    assert requests_to_go(worse, MARGIN, log_fail(worse), BAR, Side.FAIL) is not None
    assert requests_to_go(worse, MARGIN, log_pass(worse), BAR, Side.PASS) is None
    equal = after(2, (49, 1), (49, 1))
    assert requests_to_go(equal, MARGIN, log_fail(equal), BAR, Side.FAIL) is None
    assert requests_to_go(equal, MARGIN, log_pass(equal), BAR, Side.PASS) is not None


def test_a_forecast_matches_the_formula_rounded_up() -> None:
    evidence = after(4, (48, 2), (24, 1))
    stable, canary = (9.0 / 202.0) * (193.0 / 202.0), (5.0 / 102.0) * (97.0 / 102.0)
    exact = (BAR + 1.0 - log_pass(evidence)) * 2.0 * (canary + 0.5 * stable) / 0.02**2
    assert requests_to_go(evidence, MARGIN, log_pass(evidence), BAR, Side.PASS) == round_up(exact)


def test_nothing_is_foreseen_without_data_or_on_the_margin() -> None:
    assert requests_to_go(initial_evidence(None), MARGIN, 0.0, BAR, Side.PASS) is None
    on_margin = after(2, (50, 0), (49, 1))
    assert requests_to_go(on_margin, MARGIN, 0.0, BAR, Side.PASS) is None


@pytest.mark.parametrize(("number", "rounded"), [(0.2, 1), (7.0, 7), (42.0, 42), (101.0, 110), (1_650.5, 1_700)])
def test_forecasts_are_rounded_up_to_two_digits(number: float, rounded: int) -> None:
    assert round_up(number) == rounded
