"""The e-process: exact expectations on the null's edge, known special cases, and what a block reads."""

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agent_operator.core.analysis.betting import (
    Bet,
    Side,
    begin_step,
    bets,
    has_passed,
    initial_evidence,
    log_factor,
    log_fail,
    log_pass,
    observe,
)
from agent_operator.core.analysis.evidence import Baseline, Block, Counts, Evidence, Margin

SIDES = st.sampled_from(list(Side))


def baseline(mean: float, requests: float = 100.0) -> Baseline:
    return Baseline(requests, mean * requests, mean * requests)


def rate_outcomes(chances: tuple[float, ...]) -> dict[int, float]:
    """Probability of each number of failures among independent requests with their own chances."""
    odds = {0: 1.0}
    for chance in chances:
        grown: dict[int, float] = {}
        for failures, probability in odds.items():
            grown[failures] = grown.get(failures, 0.0) + probability * (1.0 - chance)
            grown[failures + 1] = grown.get(failures + 1, 0.0) + probability * chance
        odds = grown
    return odds


def counts_of(requests: int, failures: int) -> Counts:
    return (requests - failures, failures)


def warmed(evidence: Evidence, margin: Margin) -> Evidence:
    for stable, canary in (((30, 2), (5, 1)), ((7, 0), (9, 0)), ((1, 1), (1, 0))):
        evidence = observe(evidence, stable, canary, margin)
    return evidence


@settings(max_examples=120, deadline=None)
@given(
    stable=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4),
    spread=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=4),
    guess=st.floats(0.001, 0.95),
    increase=st.floats(0.0, 0.3),
    factor=st.floats(1.0, 1.5),
    side=SIDES,
)
def test_no_strategy_grows_in_expectation_on_the_edge_of_its_null(
    stable: list[float], spread: list[float], guess: float, increase: float, factor: float, side: Side
) -> None:
    margin = Margin(increase, factor)
    edge = factor * math.fsum(stable) / len(stable) + increase
    assume(edge <= 1.0)
    room = min(edge, 1.0 - edge)
    offset = math.fsum(spread) / len(spread)
    canary = [edge + room * (item - offset) / 2.0 for item in spread]
    block = Block(counts_of(len(stable), 0), counts_of(len(canary), 0))
    for bet in bets(baseline(guess), block, margin, side):
        expected = math.fsum(
            p * q * math.exp(log_factor(Block(counts_of(len(stable), i), counts_of(len(canary), j)), bet, margin, side))
            for (i, p), (j, q) in product(rate_outcomes(tuple(stable)).items(), rate_outcomes(tuple(canary)).items())
        )
        assert expected <= 1.0 + 1e-12


@settings(max_examples=60, deadline=None)
@given(chance=st.floats(0.0, 0.9), increase=st.floats(0.0, 0.1), n_s=st.integers(1, 5), n_c=st.integers(1, 5))
def test_whole_wealth_does_not_grow_in_expectation_on_the_edge(
    chance: float, increase: float, n_s: int, n_c: int
) -> None:
    margin = Margin(increase)
    before = warmed(initial_evidence((90, 10)), margin)
    fail = passed = 0.0
    stable, canary = rate_outcomes((chance,) * n_s), rate_outcomes((chance + increase,) * n_c)
    for (i, p), (j, q) in product(stable.items(), canary.items()):
        after = observe(before, counts_of(n_s, i), counts_of(n_c, j), margin)
        fail += p * q * math.exp(log_fail(after) - log_fail(before))
        passed += p * q * math.exp(log_pass(after) - log_pass(before))
    assert fail <= 1.0 + 1e-12
    assert passed <= 1.0 + 1e-12


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3),
    factor=st.floats(1.0, 1.5),
    n_s=st.integers(1, 3),
    n_c=st.integers(1, 3),
    side=SIDES,
)
def test_histogram_metrics_hold_the_same_bound(
    weights: list[float], factor: float, n_s: int, n_c: int, side: Side
) -> None:
    margin = Margin(0.0, factor, (0.0, 0.3, 1.0))
    stable = [weight / math.fsum(weights) for weight in weights]
    mean = math.fsum(p * v for p, v in zip(stable, margin.values, strict=True))
    edge = factor * mean
    assume(edge < 1.0)
    canary = [1.0 - edge, 0.0, edge]
    some = Block((n_s, 0, 0), (n_c, 0, 0))
    for bet in bets(Baseline(100.0, 40.0, 25.0), some, margin, side):
        expected = 0.0
        for drawn in product(range(3), repeat=n_s + n_c):
            mine, theirs = drawn[:n_s], drawn[n_s:]
            probability = math.prod(stable[b] for b in mine) * math.prod(canary[b] for b in theirs)
            block = Block(
                (mine.count(0), mine.count(1), mine.count(2)),
                (theirs.count(0), theirs.count(1), theirs.count(2)),
            )
            expected += probability * math.exp(log_factor(block, bet, margin, side))
        assert expected <= 1.0 + 1e-12


def test_bets_grow_in_expectation_once_the_canary_is_beyond_the_margin() -> None:
    margin, block = Margin(0.02), Block((40, 0), (10, 0))
    bet = bets(baseline(0.02), block, margin, Side.FAIL)[3]
    stable, canary = rate_outcomes((0.02,) * 40), rate_outcomes((0.2,) * 10)
    growth = math.fsum(
        p * q * log_factor(Block(counts_of(40, i), counts_of(10, j)), bet, margin, Side.FAIL)
        for (i, p), (j, q) in product(stable.items(), canary.items())
    )
    assert growth > 0.1


@pytest.mark.parametrize("mean", [0.02, 0.1, 0.4])
@pytest.mark.parametrize(("n_s", "n_c"), [(1, 1), (19, 1), (3, 5)])
def test_without_a_margin_a_factor_is_the_likelihood_ratio(mean: float, n_s: int, n_c: int) -> None:
    margin, eta = Margin(0.0), 0.25
    bet = bets(baseline(mean), Block((n_s, 0), (n_c, 0)), margin, Side.FAIL)[0]
    goal = 1.0 / (1.0 + math.exp(-eta) * (1.0 - mean) / mean)
    pooled = (n_s * mean + n_c * goal) / (n_s + n_c)
    for i, j in product(range(n_s + 1), range(n_c + 1)):
        ratio = (
            j * math.log(goal / pooled)
            + (n_c - j) * math.log((1.0 - goal) / (1.0 - pooled))
            + i * math.log(mean / pooled)
            + (n_s - i) * math.log((1.0 - mean) / (1.0 - pooled))
        )
        block = Block(counts_of(n_s, i), counts_of(n_c, j))
        assert log_factor(block, bet, margin, Side.FAIL) == pytest.approx(ratio, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(
    mean=st.floats(0.0, 1.0),
    increase=st.floats(0.0, 0.99),
    factor=st.floats(1.0, 10.0),
    n_s=st.integers(1, 10**6),
    n_c=st.integers(1, 10**6),
    side=SIDES,
)
def test_no_outcome_can_ruin_a_strategy(
    mean: float, increase: float, factor: float, n_s: int, n_c: int, side: Side
) -> None:
    margin = Margin(increase, factor)
    for bet in bets(baseline(mean), Block((n_s, 0), (n_c, 0)), margin, side):
        for i, j in product((0, n_s), (0, n_c)):
            assert math.isfinite(log_factor(Block(counts_of(n_s, i), counts_of(n_c, j)), bet, margin, side))


def test_bets_do_not_read_the_outcomes_of_the_block() -> None:
    margin, known = Margin(0.02), baseline(0.02)
    clean, failing = Block((20, 0), (5, 0)), Block((0, 20), (1, 4))
    for side in Side:
        assert bets(known, clean, margin, side) == bets(known, failing, margin, side)


def test_a_stake_is_never_negative_and_a_zero_stake_changes_nothing() -> None:
    margin, block = Margin(0.02), Block((20, 3), (5, 2))
    assert all(bet.stake >= 0.0 for side in Side for bet in bets(baseline(0.02), block, margin, side))
    assert log_factor(block, Bet(0.02, 0.0), margin, Side.FAIL) == 0.0


def test_both_sides_start_with_a_wealth_of_one() -> None:
    evidence = initial_evidence(None)
    assert log_fail(evidence) == pytest.approx(0.0, abs=1e-12)
    assert log_pass(evidence) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("history", [None, (0, 0), (10_000, 0), (0, 10_000)])
def test_bets_are_finite_without_history_or_without_errors(history: Counts | None) -> None:
    evidence = initial_evidence(history)
    for _ in range(3):
        evidence = observe(evidence, (95, 0), (5, 0), Margin(0.0))
    assert math.isfinite(log_fail(evidence))
    assert math.isfinite(log_pass(evidence))
    assert 0.0 < evidence.baseline.mean < 1.0


def test_history_weighs_at_most_two_hundred_requests_and_keeps_its_mean() -> None:
    evidence = initial_evidence((9_800, 200))
    assert evidence.baseline.requests == pytest.approx(200.0)
    assert evidence.baseline.mean == pytest.approx(0.02, rel=0.01)
    assert evidence.history_mean == pytest.approx(0.02)


def test_without_history_bets_assume_one_percent() -> None:
    assert initial_evidence(None).baseline.mean == pytest.approx(0.01)


def test_stable_is_remembered_over_about_five_thousand_requests() -> None:
    evidence = initial_evidence(None)
    for _ in range(400):
        evidence = observe(evidence, (98, 2), (1, 0), Margin(0.02))
    assert evidence.baseline.requests == pytest.approx(5_000, rel=0.02)


def test_a_handful_of_requests_is_no_known_history() -> None:
    assert initial_evidence((40, 1)).history_mean is None


def test_a_block_waits_until_both_revisions_have_a_request() -> None:
    margin, start = Margin(0.02), initial_evidence(None)
    waiting = observe(observe(start, (5, 1), (0, 0), margin), (3, 0), (0, 0), margin)
    assert waiting.pending == Block((8, 1), (0, 0))
    assert waiting.fail_wealth == start.fail_wealth
    assert waiting.baseline == start.baseline
    closed = observe(waiting, (0, 0), (0, 2), margin)
    assert closed.pending == Block((0, 0), (0, 0))
    at_once = observe(start, (8, 1), (0, 2), margin)
    assert closed.fail_wealth == at_once.fail_wealth
    assert closed.total == at_once.total


def test_an_empty_look_changes_nothing() -> None:
    margin = Margin(0.02)
    evidence = warmed(initial_evidence((90, 10)), margin)
    assert observe(evidence, (0, 0), (0, 0), margin) == evidence


def test_a_pass_once_proved_stays_proved() -> None:
    margin, evidence = Margin(0.05), initial_evidence((980, 20))
    while not has_passed(evidence, 0.05):
        evidence = observe(evidence, (49, 1), (50, 0), margin)
    spoiled = observe(evidence, (49, 1), (40, 10), margin)
    assert log_pass(spoiled) < math.log(20.0)
    assert has_passed(spoiled, 0.05)


def test_more_canary_failures_never_lower_the_fail_evidence() -> None:
    margin, evidence = Margin(0.02), initial_evidence((980, 20))
    levels = [observe(evidence, (49, 1), counts_of(10, failures), margin) for failures in range(11)]
    fails, passes = [log_fail(level) for level in levels], [log_pass(level) for level in levels]
    assert fails == sorted(fails)
    assert passes == sorted(passes, reverse=True)


def test_a_bad_canary_is_found_although_it_was_good_for_long() -> None:
    margin, evidence = Margin(0.02), initial_evidence((980, 20))
    for _ in range(100):
        evidence = observe(evidence, (98, 2), (98, 2), margin)
    looks = 0
    while log_fail(evidence) < math.log(20.0):
        evidence = observe(evidence, (98, 2), (80, 20), margin)
        looks += 1
    assert looks <= 3


def test_a_new_step_counts_anew_and_keeps_the_evidence() -> None:
    margin = Margin(0.02)
    evidence = warmed(initial_evidence(None), margin)
    stepped = begin_step(evidence)
    assert stepped.step.canary_requests == 0
    assert stepped.step_differences.mean is None
    assert replace(stepped, step=evidence.step, step_differences=evidence.step_differences) == evidence


@pytest.mark.parametrize("counts", [(1,), (1, 2, 3), (-1, 2)])
def test_counts_that_do_not_fit_are_refused(counts: Counts) -> None:
    with pytest.raises(ValueError, match="2 counts of at least 0"):
        observe(initial_evidence(None), counts, (0, 0), Margin(0.02))
    with pytest.raises(ValueError, match="2 counts of at least 0"):
        initial_evidence(counts)


@pytest.mark.parametrize(
    ("increase", "factor", "values"),
    [
        (-0.01, 1.0, (0.0, 1.0)),
        (1.0, 1.0, (0.0, 1.0)),
        (math.nan, 1.0, (0.0, 1.0)),
        (0.0, 0.5, (0.0, 1.0)),
        (0.0, 11.0, (0.0, 1.0)),
        (0.0, 1.0, (0.0, 2.0)),
        (0.0, 1.0, (1.0,)),
    ],
)
def test_margins_outside_their_bounds_are_refused(increase: float, factor: float, values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"must lie in|are needed"):
        Margin(increase, factor, values)


def test_the_estimate_does_not_mistake_a_moving_base_rate_under_moving_traffic_for_a_difference() -> None:
    margin, evidence = Margin(0.02), initial_evidence((980, 20))
    evidence = observe(evidence, (98, 2), (49, 1), margin)
    evidence = observe(evidence, (25, 25), (100, 100), margin)
    assert evidence.differences.mean == pytest.approx(0.0, abs=1e-12)
    assert evidence.step_differences.mean == pytest.approx(0.0, abs=1e-12)
