"""Seeded rollouts: small versions of the measured false-verdict and power tables the method was chosen by."""

import math
from collections.abc import Iterator
from random import Random

import pytest

from agent_operator.core.analysis.betting import has_passed, initial_evidence, log_fail, observe
from agent_operator.core.analysis.evidence import Counts, Evidence, Margin

ALPHA = 0.05
BAR = math.log(1.0 / ALPHA)
LOOK = 50
NEVER = 10**9


def weights(part: float = 1.0) -> Iterator[float]:
    """The canary's share of traffic at each look of a rollout: 5 %, 25 %, 50 %."""
    for weight, requests in ((0.05, 10_000), (0.25, 6_000), (0.50, 16_000)):
        yield from [weight] * int(requests * part / LOOK)


def look(random: Random, weight: float, stable_rate: float, canary_rate: float) -> tuple[Counts, Counts]:
    stable, canary = [0, 0], [0, 0]
    for _ in range(LOOK):
        if random.random() < weight:
            canary[random.random() < canary_rate] += 1
        else:
            stable[random.random() < stable_rate] += 1
    return (stable[0], stable[1]), (canary[0], canary[1])


def rollout(random: Random, rates: tuple[float, float], margin: Margin, part: float = 1.0) -> Iterator[Evidence]:
    evidence = initial_evidence((round(5_000 * (1.0 - rates[0])), round(5_000 * rates[0])))
    for weight in weights(part):
        evidence = observe(evidence, *look(random, weight, *rates), margin)
        yield evidence


def failed(evidence: Evidence) -> bool:
    return log_fail(evidence) >= BAR


def passed(evidence: Evidence) -> bool:
    return has_passed(evidence, ALPHA)


def requests_until_fail(random: Random, rates: tuple[float, float], margin: Margin) -> int:
    runs = rollout(random, rates, margin)
    return next((evidence.total.canary_requests for evidence in runs if failed(evidence)), NEVER)


def requests_until_pass(random: Random, rates: tuple[float, float], margin: Margin) -> int:
    runs = rollout(random, rates, margin)
    return next((evidence.total.canary_requests for evidence in runs if passed(evidence)), NEVER)


def median(numbers: list[int]) -> int:
    return sorted(numbers)[len(numbers) // 2]


def test_equal_revisions_are_rarely_failed_however_often_one_looks() -> None:
    random = Random(1)
    false = sum(any(map(failed, rollout(random, (0.02, 0.02), Margin(0.0), 0.25))) for _ in range(120))
    assert false <= 10


def test_a_canary_on_the_margin_is_rarely_passed() -> None:
    random = Random(2)
    false = sum(any(map(passed, rollout(random, (0.02, 0.03), Margin(0.01), 0.25))) for _ in range(100))
    assert false <= 9


def test_error_rates_of_both_revisions_may_drift_together() -> None:
    random, margin, false = Random(3), Margin(0.0), 0
    for _ in range(40):
        evidence, wrong = initial_evidence((4_900, 100)), False
        for number, weight in enumerate(weights(0.25)):
            rate = 0.05 * (1.0 + 0.8 * math.sin(number / 15.0))
            evidence = observe(evidence, *look(random, weight, rate, rate), margin)
            wrong = wrong or failed(evidence)
        false += wrong
    assert false <= 5


def test_two_to_ten_percent_is_found_in_about_ninety_requests() -> None:
    random = Random(4)
    needed = [requests_until_fail(random, (0.02, 0.10), Margin(0.01)) for _ in range(200)]
    assert 70 <= median(needed) <= 110
    assert max(needed) < 2_000


@pytest.mark.parametrize(("rate", "most"), [(1.0, 4), (0.5, 10)])
def test_a_broken_canary_fails_within_a_few_requests(rate: float, most: int) -> None:
    random = Random(5)
    needed = [requests_until_fail(random, (0.02, rate), Margin(0.02)) for _ in range(100)]
    assert median(needed) <= most


def test_an_equal_canary_passes_five_points_in_about_125_requests() -> None:
    random = Random(6)
    needed = [requests_until_pass(random, (0.02, 0.02), Margin(0.05)) for _ in range(150)]
    assert 105 <= median(needed) <= 145


def test_a_flawless_canary_needs_about_365_requests_for_one_point() -> None:
    assert 350 <= requests_until_pass(Random(7), (0.0, 0.0), Margin(0.01)) <= 380


@pytest.mark.parametrize("margin", [0.0, 0.01, 0.02, 0.05])
@pytest.mark.parametrize("history", [None, (5_000, 0), (4_900, 100)])
def test_twenty_clean_requests_never_pass(margin: float, history: Counts | None) -> None:
    evidence = initial_evidence(history)
    for _ in range(20):
        evidence = observe(evidence, (19, 0), (1, 0), Margin(margin))
    assert not passed(evidence)
