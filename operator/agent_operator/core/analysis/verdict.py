"""The rules that turn evidence into a verdict.

Fail: the weighted average of all metrics' Fail e-values reaches 1/alpha, valid under any dependence.
Pass: every gating metric proved its own Pass, which needs no correction, and this step raises no doubt.
Neither: InsufficientData, and Inconclusive once `max_duration_s` is over. No data is never success.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent_api.v1alpha1.status import Verdict
from agent_operator.core.analysis.betting import Side, has_passed, log_fail, log_pass, log_sum
from agent_operator.core.analysis.estimate import Estimate, estimate_of, requests_to_go
from agent_operator.core.analysis.evidence import Evidence, Margin

MIN_SUSPICIOUS_UNITS = 20
OUTAGE_FACTOR = 3.0
OUTAGE_FLOOR = 0.10


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """A metric. Weights share out the Fail side's error probability; only their ratio matters.

    A gating metric that does not prove (`proves`) holds a Pass up while it shows the canary beyond the margin, no more.
    """

    name: str
    evidence: Evidence
    margin: Margin
    gating: bool = True
    proves: bool = True
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class MetricReport:
    """One metric for people; means and differences are outcomes in [0, 1], None with nothing to show.

    `fail_percent` and `pass_percent` are the evidence in percent of the bar; 100 means it alone would do, None of
    `pass_percent` that a Pass needs no proof of it. `canary_requests`, `stable_requests` and `requests_to_go` ("about N
    more at the canary", None when decided or not foreseeable) count what was randomised.
    """

    name: str
    verdict: Verdict
    canary: float | None
    stable: float | None
    estimate: Estimate | None
    canary_requests: int
    stable_requests: int
    fail_percent: int
    pass_percent: int | None
    requests_to_go: int | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict, the metric that caused it or holds it up (None if it is no metric), and why, for people.

    The message of an undecided verdict holds no figures, so that it changes only with the reason.
    """

    verdict: Verdict
    cause: str | None
    message: str
    metrics: tuple[MetricReport, ...]


@dataclass(frozen=True, slots=True)
class _Decision:
    verdict: Verdict
    cause: str | None
    message: str


def judge(
    metrics: Sequence[MetricEvidence],
    *,
    unit: str,
    step_canary_units: int,
    min_samples: int,
    elapsed_s: float,
    max_duration_s: float,
    alpha: float,
) -> Judgement:
    """Judge the canary as of now; call after every observation.

    A Fail counts from the first look that shows it: evidence may shrink again later. `unit` is the plural of what was
    randomised, of which `step_canary_units` and `min_samples` count those since the step began; `elapsed_s` is the time
    since then.
    """
    decision = (
        _failed(metrics, unit, alpha)
        or _held_up(metrics, unit, step_canary_units, min_samples, alpha)
        or _Decision(Verdict.PASS, None, "the canary is not worse than stable by more than the margin")
    )
    if decision.verdict is Verdict.INSUFFICIENT_DATA and elapsed_s >= max_duration_s:
        decision = _Decision(Verdict.INCONCLUSIVE, decision.cause, f"no verdict within maxDuration: {decision.message}")
    to_min_samples = max(0, min_samples - step_canary_units)
    reports = tuple(_report(metric, metrics, decision, to_min_samples, alpha) for metric in metrics)
    return Judgement(decision.verdict, decision.cause, decision.message, reports)


def fails(metrics: Sequence[MetricEvidence], alpha: float) -> bool:
    """Whether the evidence makes a Fail: the part of `judge` that a look ahead needs."""
    shares = [_log_fail_share(metric, metrics) for metric in metrics]
    return bool(shares) and log_sum(shares) >= math.log(1.0 / alpha)


def _failed(metrics: Sequence[MetricEvidence], unit: str, alpha: float) -> _Decision | None:
    if not fails(metrics, alpha):
        return None
    cause = max(metrics, key=lambda metric: _log_fail_share(metric, metrics))
    total = cause.evidence.total
    message = (
        f"{cause.name}: canary {_percent(total.canary_mean)} of {total.canary_requests} {unit}, "
        f"stable {_percent(total.stable_mean)} of {total.stable_requests}: worse by more than the margin"
    )
    return _Decision(Verdict.FAIL, cause.name, message)


def _held_up(
    metrics: Sequence[MetricEvidence], unit: str, units: int, min_samples: int, alpha: float
) -> _Decision | None:
    """The first reason why the canary cannot pass yet."""
    gating = [metric for metric in metrics if metric.gating]
    if not gating:
        return _wait(None, "no gating metric is configured")
    if units < max(1, min_samples):
        return _wait(None, f"fewer canary {unit} in this step than minSamples")
    for metric in gating:
        reason = _doubt(metric, unit, alpha) if metric.proves else _suspicion(metric)
        if reason is not None:
            return _wait(metric.name, f"{metric.name}: {reason}")
    return None


def _suspicion(metric: MetricEvidence) -> str | None:
    """Why a metric that has nothing to prove holds a Pass up; a few units are chance, and hold nothing up."""
    difference, seen = metric.evidence.step_differences.mean, metric.evidence.step.canary_requests
    if difference is None or seen < MIN_SUSPICIOUS_UNITS or difference <= metric.margin.increase:
        return None
    return "the canary is beyond the margin in this step"


def _doubt(metric: MetricEvidence, unit: str, alpha: float) -> str | None:
    difference = metric.evidence.step_differences.mean
    if not has_passed(metric.evidence, alpha):
        return "the evidence does not suffice yet"
    if difference is None:
        return f"one revision has no {unit} in this step"
    if difference > metric.margin.increase:
        return "the canary is beyond the margin in this step"
    if _is_stable_off(metric.evidence):
        return "stable itself is far off its history"
    return None


def _is_stable_off(evidence: Evidence) -> bool:
    """Whether stable looks like an outage: equality of two broken revisions proves nothing."""
    if evidence.history_mean is None or evidence.recent_requests <= 0.0:
        return False
    recent = evidence.recent_total / evidence.recent_requests
    return recent > max(OUTAGE_FACTOR * evidence.history_mean, OUTAGE_FLOOR)


def _wait(cause: str | None, message: str) -> _Decision:
    return _Decision(Verdict.INSUFFICIENT_DATA, cause, message)


def _report(
    metric: MetricEvidence,
    metrics: Sequence[MetricEvidence],
    decision: _Decision,
    to_min_samples: int,
    alpha: float,
) -> MetricReport:
    evidence, total, bar = metric.evidence, metric.evidence.total, math.log(1.0 / alpha)
    verdict = _metric_verdict(metric, decision, alpha)
    estimate = estimate_of(evidence, metric.margin, alpha)
    if estimate is not None and verdict not in {Verdict.PASS, Verdict.FAIL}:
        estimate = estimate.holding(metric.margin.increase)
    decided = decision.verdict in {Verdict.PASS, Verdict.FAIL}
    return MetricReport(
        name=metric.name,
        verdict=verdict,
        canary=total.canary_mean,
        stable=total.stable_mean,
        estimate=estimate,
        canary_requests=total.canary_requests,
        stable_requests=total.stable_requests,
        fail_percent=_of_bar(_log_fail_share(metric, metrics), bar),
        pass_percent=_pass_percent(metric, verdict, bar),
        requests_to_go=None if decided else _forecast(metric, metrics, to_min_samples, bar),
    )


def _pass_percent(metric: MetricEvidence, verdict: Verdict, bar: float) -> int | None:
    if not metric.proves:
        return None
    return _of_bar(metric.evidence.pass_peak if verdict is Verdict.PASS else log_pass(metric.evidence), bar)


def _metric_verdict(metric: MetricEvidence, decision: _Decision, alpha: float) -> Verdict:
    if decision.verdict is Verdict.FAIL and decision.cause == metric.name:
        return Verdict.FAIL
    if has_passed(metric.evidence, alpha):
        return Verdict.PASS
    undecided = decision.verdict in {Verdict.PASS, Verdict.FAIL}
    return Verdict.INSUFFICIENT_DATA if undecided else decision.verdict


def _forecast(metric: MetricEvidence, metrics: Sequence[MetricEvidence], to_min_samples: int, bar: float) -> int | None:
    """Requests to a Fail if the canary looks worse than the margin, else to a Pass and `minSamples`."""
    evidence, margin = metric.evidence, metric.margin
    to_fail = requests_to_go(evidence, margin, _log_fail_share(metric, metrics), bar, Side.FAIL)
    if to_fail is not None:
        return to_fail
    if not metric.proves:
        return None
    if evidence.pass_peak >= bar:
        return to_min_samples or None
    to_pass = requests_to_go(evidence, margin, log_pass(evidence), bar, Side.PASS)
    return None if to_pass is None else max(to_pass, to_min_samples)


def _log_fail_share(metric: MetricEvidence, metrics: Sequence[MetricEvidence]) -> float:
    """Logarithm of the metric's part of the weighted average."""
    return log_fail(metric.evidence) + math.log(metric.weight / math.fsum(other.weight for other in metrics))


def _of_bar(log_wealth: float, bar: float) -> int:
    return max(0, min(100, math.floor(100.0 * log_wealth / bar)))


def _percent(mean: float | None) -> str:
    return "-" if mean is None else f"{100.0 * mean:.1f} %"
