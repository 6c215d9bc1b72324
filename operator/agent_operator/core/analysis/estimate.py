"""What people see beside a verdict: the difference, its interval, and how many more requests it may take.

Nothing here decides. The difference of a metric is the canary's mean minus `factor` times stable's.
"""

import math
from dataclasses import dataclass

from agent_operator.core.analysis.betting import Side, smoothed_variance
from agent_operator.core.analysis.evidence import Evidence, Margin

# The interval is tightest near a difference of its margin; with no margin asked, aim at one point.
_AIM_WITHOUT_MARGIN = 0.01
_SIGNIFICANT_DIGITS = 2
_FORESEEABLE_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """Difference of the means, and an interval that at confidence 1 - alpha holds the truth at every look."""

    difference: float
    low: float
    high: float

    def holding(self, number: float) -> "Estimate":
        """The same estimate, its interval widened to hold a number."""
        return Estimate(self.difference, min(self.low, number), max(self.high, number))


def estimate_of(evidence: Evidence, margin: Margin, alpha: float) -> Estimate | None:
    """Difference over closed blocks and a normal-mixture confidence sequence; None before the first."""
    sums, difference = evidence.differences, evidence.differences.mean
    if difference is None:
        return None
    variance = _canary_variance(evidence)
    precision = (_distance_aimed_at(evidence, margin) / variance) ** 2
    boundary = (sums.variance + 1.0 / precision) * math.log((1.0 + sums.variance * precision) / alpha**2)
    radius = math.sqrt(boundary) / sums.weight
    return Estimate(difference, difference - radius, difference + radius)


def requests_to_go(evidence: Evidence, margin: Margin, log_wealth: float, bar: float, side: Side) -> int | None:
    """About how many more canary requests the side needs until its log-wealth reaches `bar`, to two digits.

    None if the estimate lies on the other side of the margin, or too close to it to foresee anything. Half of
    all runs need fewer than 0.6 of it, one in ten about twice as many or more.
    """
    difference, traffic = evidence.differences.mean, _current_traffic(evidence)
    if difference is None or traffic is None:
        return None
    distance = side * (difference - margin.increase)
    if distance <= 0.0:
        return None
    total = evidence.total
    stable = smoothed_variance(total.stable_requests, total.stable_total, evidence.baseline.spread)
    variance = _canary_variance(evidence) + margin.factor**2 * traffic * stable
    needed = max(0.0, bar + 1.0 - log_wealth) * 2.0 * variance / distance**2
    return round_up(needed) if needed <= _FORESEEABLE_REQUESTS else None


def round_up(number: float) -> int:
    """The next number of two significant digits."""
    whole = math.ceil(number)
    step = int(10 ** max(0, len(str(whole)) - _SIGNIFICANT_DIGITS))
    return -(-whole // step) * step


def _distance_aimed_at(evidence: Evidence, margin: Margin) -> float:
    allowed = margin.increase + (margin.factor - 1.0) * evidence.baseline.mean
    return allowed or _AIM_WITHOUT_MARGIN


def _canary_variance(evidence: Evidence) -> float:
    total = evidence.total
    return smoothed_variance(total.canary_requests, total.canary_total, evidence.baseline.spread)


def _current_traffic(evidence: Evidence) -> float | None:
    """Canary requests per stable request, in this step if it has both."""
    for tally in (evidence.step, evidence.total):
        if tally.stable_requests and tally.canary_requests:
            return tally.canary_requests / tally.stable_requests
    return None
