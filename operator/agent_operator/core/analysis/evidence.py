"""The facts of a comparison: the margin asked for, what was counted, and the evidence it adds up to."""

from dataclasses import dataclass

Counts = tuple[int, ...]

RATE_VALUES = (0.0, 1.0)
EDGE = 1e-4
MIN_SPREAD = 0.02
MAX_INCREASE = 0.99
MAX_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class Margin:
    """The canary may reach `factor * stable + increase`; `values` are the outcomes the buckets stand for.

    Raises ValueError on an increase outside [0, 0.99], a factor outside [1, 10] or values outside [0, 1].
    """

    increase: float
    factor: float = 1.0
    values: tuple[float, ...] = RATE_VALUES

    def __post_init__(self) -> None:
        """Refuse margins for which no positive wealth can be guaranteed."""
        if not 0.0 <= self.increase <= MAX_INCREASE:
            raise ValueError(f"increase must lie in [0, {MAX_INCREASE}], got {self.increase}")
        if not 1.0 <= self.factor <= MAX_FACTOR:
            raise ValueError(f"factor must lie in [1, {MAX_FACTOR}], got {self.factor}")
        if len(self.values) < len(RATE_VALUES) or not all(0.0 <= value <= 1.0 for value in self.values):
            raise ValueError(f"at least two bucket values in [0, 1] are needed, got {self.values}")


@dataclass(frozen=True, slots=True)
class Block:
    """Requests per bucket of both revisions since the last block."""

    stable_counts: Counts
    canary_counts: Counts

    @property
    def stable_requests(self) -> int:
        """How many requests stable ended in this block."""
        return sum(self.stable_counts)

    @property
    def canary_requests(self) -> int:
        """How many requests the canary ended in this block."""
        return sum(self.canary_counts)

    @property
    def is_comparable(self) -> bool:
        """Whether both revisions have a request."""
        return self.stable_requests > 0 and self.canary_requests > 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Requests and their summed outcome (the failures, for a rate) of both revisions."""

    stable_requests: int = 0
    stable_total: float = 0.0
    canary_requests: int = 0
    canary_total: float = 0.0

    @property
    def stable_mean(self) -> float | None:
        """Stable's mean outcome; None without a request."""
        return self.stable_total / self.stable_requests if self.stable_requests else None

    @property
    def canary_mean(self) -> float | None:
        """The canary's mean outcome; None without a request."""
        return self.canary_total / self.canary_requests if self.canary_requests else None


@dataclass(frozen=True, slots=True)
class Baseline:
    """Three running sums of stable's closed blocks, fading over 5,000 requests: what bets are built on."""

    requests: float
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Stable's running mean, kept off 0 and 1: its logit is finite and the largest bet not too timid."""
        return clip(self.total / self.requests, EDGE, 1.0 - EDGE)

    @property
    def spread(self) -> float:
        """Stable's variance as a share of that of a 0/1 outcome with the same mean; 1 for rates."""
        mean = self.total / self.requests
        most = mean * (1.0 - mean)
        if most <= 0.0:
            return 1.0
        return clip((self.squares / self.requests - mean * mean) / most, MIN_SPREAD, 1.0)


@dataclass(frozen=True, slots=True)
class Differences:
    """Sums over blocks behind the shown estimate and its interval: weighted difference, weight, variance."""

    weighted: float = 0.0
    weight: float = 0.0
    variance: float = 0.0

    @property
    def mean(self) -> float | None:
        """Canary's mean minus `factor` times stable's; None before the first block."""
        return self.weighted / self.weight if self.weight > 0.0 else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is known of one metric in one rollout.

    Log-wealth lists end with the cash that never bets. `pass_peak` is the largest log-wealth the Pass side
    ever had: a Pass once proved stays proved. `step*` is since `begin_step`, `total` since the start.
    `recent_*` are stable's requests fading over 200 requests. `history_mean` is stable's mean before the
    rollout, None if fewer than 50 requests tell it.
    """

    fail_wealth: tuple[float, ...]
    pass_wealth: tuple[float, ...]
    pass_peak: float
    baseline: Baseline
    pending: Block
    total: Tally
    step: Tally
    differences: Differences
    step_differences: Differences
    recent_requests: float
    recent_total: float
    history_mean: float | None


def clip(number: float, low: float, high: float) -> float:
    """The number, or the limit it exceeds."""
    return min(max(number, low), high)
