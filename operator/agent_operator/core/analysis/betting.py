"""A two-sample betting e-process on blocks of bucket counts.

Requests of stable and canary are compared inside blocks: a block closes as soon as both revisions have a
new request. In each block a handful of fixed strategies bet that the canary is worse than
`factor * stable + increase` (Fail) or better than it (Pass). While the opposite is true no strategy grows in
expectation, for any traffic split, any drift between blocks and any number of looks, so
P(the wealth ever reaches 1/alpha) <= alpha (Ville's inequality). A poor bet costs requests, never validity:
bets read closed blocks and the number of requests in the open one, never its outcomes.

Wealth is kept as a natural logarithm. Outcomes lie in [0, 1]; a rate has the two outcomes 0 and 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from agent_operator.core.analysis.evidence import (
    EDGE,
    RATE_VALUES,
    Baseline,
    Block,
    Counts,
    Differences,
    Evidence,
    Margin,
    Tally,
    clip,
)

FAIL_ETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
FAIL_START = (0.30, 0.25, 0.15, 0.10, 0.08, 0.07, 0.05)
PASS_ETAS = (0.6, 0.25, 0.0, -0.5, -1.0)
PASS_FACTORS = (0.9, 0.8, 0.7, 0.55, 0.4)
PASS_START = (0.25, 0.30, 0.20, 0.10, 0.10, 0.05)

SHARE_PER_REQUEST = 2e-5
MEMORY_REQUESTS = 5000.0
RECENT_REQUESTS = 200.0
STAKE_LIMIT = 0.98

# Half an error in 50 requests: with no history the first bets assume 1 %, and real requests soon outweigh it.
PRIOR_REQUESTS = 50.0
PRIOR_TOTAL = 0.5
MAX_PSEUDO_REQUESTS = 200.0
MIN_HISTORY_REQUESTS = 50


class Side(IntEnum):
    """What a bet claims: the canary is worse (FAIL) or better (PASS) than the margin; its value is a sign."""

    FAIL = 1
    PASS = -1


@dataclass(frozen=True, slots=True)
class Bet:
    """One strategy's move in a block: stable's mean under the null (`centre`), and how hard it bets."""

    centre: float
    stake: float


def initial_evidence(history: Counts | None, values: tuple[float, ...] = RATE_VALUES) -> Evidence:
    """Evidence before the first request; `history` are stable's counts before the rollout.

    History only shapes the bets (as 50 to 200 pseudo-requests) and is never compared with the canary.
    """
    counts = history or (0,) * len(values)
    _check_counts(counts, values)
    requests, total, squares = float(sum(counts)), _moment(counts, values, 1), _moment(counts, values, 2)
    known = PRIOR_REQUESTS + requests
    scale = min(known, MAX_PSEUDO_REQUESTS) / known
    nothing = (0,) * len(values)
    return Evidence(
        fail_wealth=tuple(map(math.log, FAIL_START)),
        pass_wealth=tuple(map(math.log, PASS_START)),
        pass_peak=0.0,
        baseline=Baseline(known * scale, (PRIOR_TOTAL + total) * scale, (PRIOR_TOTAL + squares) * scale),
        pending=Block(nothing, nothing),
        total=Tally(),
        step=Tally(),
        differences=Differences(),
        step_differences=Differences(),
        recent_requests=0.0,
        recent_total=0.0,
        history_mean=total / requests if requests >= MIN_HISTORY_REQUESTS else None,
    )


def begin_step(evidence: Evidence) -> Evidence:
    """The same evidence with what is known of the current step back at nothing; wealth needs no restart."""
    return replace(evidence, step=Tally(), step_differences=Differences())


def observe(evidence: Evidence, stable: Counts, canary: Counts, margin: Margin) -> Evidence:
    """Add new requests, and close the block when both revisions have one.

    Raises ValueError on negative counts or a number of buckets other than the margin's.
    """
    _check_counts(stable, margin.values)
    _check_counts(canary, margin.values)
    stable_requests, stable_total = sum(stable), _moment(stable, margin.values, 1)
    fade = math.exp(-stable_requests / RECENT_REQUESTS)
    added = Tally(stable_requests, stable_total, sum(canary), _moment(canary, margin.values, 1))
    pending = evidence.pending
    grown = replace(
        evidence,
        pending=Block(_add_counts(pending.stable_counts, stable), _add_counts(pending.canary_counts, canary)),
        total=_add_tallies(evidence.total, added),
        step=_add_tallies(evidence.step, added),
        recent_requests=evidence.recent_requests * fade + stable_requests,
        recent_total=evidence.recent_total * fade + stable_total,
    )
    return _close(grown, margin) if grown.pending.is_comparable else grown


def log_fail(evidence: Evidence) -> float:
    """Natural logarithm of the e-value against "the canary is at most the margin worse"."""
    return log_sum(evidence.fail_wealth)


def log_pass(evidence: Evidence) -> float:
    """Natural logarithm of the e-value against "the canary is at least the margin worse"."""
    return log_sum(evidence.pass_wealth)


def has_passed(evidence: Evidence, alpha: float) -> bool:
    """Whether the Pass side ever proved its case at error probability `alpha`."""
    return evidence.pass_peak >= math.log(1.0 / alpha)


def bets(baseline: Baseline, block: Block, margin: Margin, side: Side) -> tuple[Bet, ...]:
    """Each strategy's bet; of the block only the number of requests is read, never an outcome."""
    bound = _bound(baseline, margin)
    goals = _fail_goals(bound) if side is Side.FAIL else _pass_goals(baseline.mean, bound)
    return tuple(_bet(goal, baseline, block, margin, side) for goal in goals)


def log_factor(block: Block, bet: Bet, margin: Margin, side: Side) -> float:
    """Logarithm of what the bet's wealth is multiplied with by the outcomes of the block."""
    canary_stake = side * bet.stake
    stable_stake = canary_stake * margin.factor * block.canary_requests / block.stable_requests
    limit = margin.factor * bet.centre + margin.increase
    result = 0.0
    for value, stable, canary in zip(margin.values, block.stable_counts, block.canary_counts, strict=True):
        if canary:
            result += canary * math.log1p(canary_stake * (value - limit))
        if stable:
            result += stable * math.log1p(-stable_stake * (value - bet.centre))
    return result


def log_sum(logs: Sequence[float]) -> float:
    """Logarithm of the sum of numbers given by their logarithms."""
    top = max(logs)
    return top + math.log(math.fsum(math.exp(log - top) for log in logs))


def smoothed_variance(requests: int, total: float, spread: float) -> float:
    """Variance of an outcome with one more success and failure, so that no errors seen is not certainty."""
    mean = (total + 1.0) / (requests + 2.0)
    return mean * (1.0 - mean) * spread


def _bound(baseline: Baseline, margin: Margin) -> float:
    """The largest canary mean that is within the margin, going by stable's running mean."""
    return clip(margin.factor * baseline.mean + margin.increase, EDGE, 1.0 - EDGE)


def _fail_goals(bound: float) -> tuple[float, ...]:
    """The canary means that Fail bets on, spread on the logit scale."""
    odds = bound / (1.0 - bound)
    return tuple(1.0 / (1.0 + math.exp(-eta) / odds) for eta in FAIL_ETAS)


def _pass_goals(mean: float, bound: float) -> tuple[float, ...]:
    """The canary means that Pass bets on; with no room below the bound, only a better canary can pass."""
    if bound <= mean:
        return tuple(mean * factor for factor in PASS_FACTORS)
    return tuple(clip(mean + eta * (bound - mean), EDGE, 1.0 - EDGE) for eta in PASS_ETAS)


def _bet(goal: float, baseline: Baseline, block: Block, margin: Margin, side: Side) -> Bet:
    """The growth-optimal bet for the goal, to second order, limited so that no outcome can ruin it."""
    factor, stable, canary = margin.factor, block.stable_requests, block.canary_requests
    pooled = stable * baseline.mean + factor * canary * (goal - margin.increase)
    best = pooled / (stable + factor**2 * canary)
    centre = clip(best, EDGE, min(1.0 - EDGE, (1.0 - EDGE - margin.increase) / factor))
    limit, ratio = factor * centre + margin.increase, factor * canary / stable
    variance = limit * (1.0 - limit) + factor * ratio * centre * (1.0 - centre)
    # A dearer canary also spreads wider; a rate's variance already follows from its mean.
    widening = 1.0 if margin.values == RATE_VALUES else max(limit / baseline.mean, 1.0)
    if side is Side.FAIL:
        most = STAKE_LIMIT / max(limit, ratio * (1.0 - centre))
    else:
        most = STAKE_LIMIT / max(1.0 - limit, ratio * centre)
    lead = max(0.0, side * (goal - _bound(baseline, margin)))
    return Bet(centre, min(most, lead / (baseline.spread * widening * variance)))


def _close(evidence: Evidence, margin: Margin) -> Evidence:
    """Settle the pending block's bets, then let stable's running sums learn from it."""
    block = evidence.pending
    found = _difference_in(block, evidence, margin)
    fail_wealth = _settle(evidence.fail_wealth, FAIL_START, evidence, margin, Side.FAIL)
    pass_wealth = _settle(evidence.pass_wealth, PASS_START, evidence, margin, Side.PASS)
    nothing = (0,) * len(margin.values)
    return replace(
        evidence,
        fail_wealth=fail_wealth,
        pass_wealth=pass_wealth,
        pass_peak=max(evidence.pass_peak, log_sum(pass_wealth)),
        baseline=_learn(evidence.baseline, block.stable_counts, margin.values),
        pending=Block(nothing, nothing),
        differences=_add_differences(evidence.differences, found),
        step_differences=_add_differences(evidence.step_differences, found),
    )


def _settle(
    wealth: tuple[float, ...], start: tuple[float, ...], evidence: Evidence, margin: Margin, side: Side
) -> tuple[float, ...]:
    """Wealth after the block: each strategy's result, then the share that lets late winners start over."""
    block = evidence.pending
    placed = bets(evidence.baseline, block, margin, side)
    results = [log + log_factor(block, bet, margin, side) for log, bet in zip(wealth, placed, strict=False)]
    results.append(wealth[-1])
    kept = -SHARE_PER_REQUEST * block.canary_requests
    shared = math.log(-math.expm1(kept)) + log_sum(results)
    shares = zip(results, start, strict=True)
    return tuple(log_sum((kept + log, shared + math.log(part))) for log, part in shares)


def _learn(baseline: Baseline, counts: Counts, values: tuple[float, ...]) -> Baseline:
    requests = sum(counts)
    fade = math.exp(-requests / MEMORY_REQUESTS)
    return Baseline(
        baseline.requests * fade + requests,
        baseline.total * fade + _moment(counts, values, 1),
        baseline.squares * fade + _moment(counts, values, 2),
    )


def _difference_in(block: Block, evidence: Evidence, margin: Margin) -> Differences:
    """What one block adds to the shown estimate, weighted by how much it can tell."""
    total, spread = evidence.total, evidence.baseline.spread
    stable, canary = block.stable_requests, block.canary_requests
    weight = 1.0 / (1.0 / canary + margin.factor**2 / stable)
    difference = (
        _moment(block.canary_counts, margin.values, 1) / canary
        - margin.factor * _moment(block.stable_counts, margin.values, 1) / stable
    )
    variance = (
        smoothed_variance(total.canary_requests, total.canary_total, spread) / canary
        + margin.factor**2 * smoothed_variance(total.stable_requests, total.stable_total, spread) / stable
    )
    return Differences(weight * difference, weight, weight**2 * variance)


def _add_differences(left: Differences, right: Differences) -> Differences:
    return Differences(left.weighted + right.weighted, left.weight + right.weight, left.variance + right.variance)


def _add_counts(left: Counts, right: Counts) -> Counts:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def _add_tallies(left: Tally, right: Tally) -> Tally:
    return Tally(
        left.stable_requests + right.stable_requests,
        left.stable_total + right.stable_total,
        left.canary_requests + right.canary_requests,
        left.canary_total + right.canary_total,
    )


def _check_counts(counts: Counts, values: tuple[float, ...]) -> None:
    if len(counts) != len(values) or min(counts) < 0:
        raise ValueError(f"{len(values)} counts of at least 0 are needed, got {counts}")


def _moment(counts: Counts, values: tuple[float, ...], power: int) -> float:
    return math.fsum(count * value**power for count, value in zip(counts, values, strict=True))
