"""From observations to a verdict: what was randomised, in which slot, and what the evidence then says.

A slot is read once all its runs have ended on every pod, and never again: `read_until` and the evidence that the slots
made are written together. Only conversations and users that were split in this epoch count, each once a question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from agent_api.observations import RETAINED_SECONDS, slot_start
from agent_api.quantities import fraction, seconds
from agent_api.v1alpha1.rollout import Analysis, AnalysisMetric, Stickiness
from agent_api.v1alpha1.route import AgentRouteSpec, AnalysisLedger, Role
from agent_operator.core import routing
from agent_operator.core.analysis.betting import begin_step, initial_evidence
from agent_operator.core.analysis.evidence import Evidence, Margin
from agent_operator.core.analysis.state import EvidenceStateError, from_state, to_state
from agent_operator.core.analysis.verdict import Judgement, MetricEvidence, fails
from agent_operator.core.analysis.verdict import judge as judge_metrics
from agent_operator.core.counted_units import read_counted
from agent_operator.core.facts import Seen
from agent_operator.core.reading import Comparison, Reading, is_known, plausible_slots
from agent_operator.core.units import Question

ALPHA = 0.05
WEIGHTS = {Question.FIRST: 1.0, Question.LATER: 0.5, Question.UNANSWERED: 0.25}
"""How the error probability of a Fail is shared out: the more that a question finds alone, the more it gets."""
UNANSWERED_INCREASE = 0.5
"""So many more may go without an answer: clients differ in patience, a canary that hangs answers nobody."""
BEHIND_STEP_SECONDS = 30


def read(route: AgentRouteSpec, seen: Seen, now: datetime) -> AgentRouteSpec:
    """Add settled slots to the evidence; the same route if there is nothing new."""
    comparison = Comparison.of(route, seen, margins_of(seen.rollout.canary.analysis))
    if comparison is None:
        return route
    settled = settled_until(seen)
    ledger = route.rollout.analysis or first_ledger(route, seen, now)
    readings = tuple(comparison.readings(_reading_of(ledger), ledger.read_until, settled))
    if not readings and not _due(ledger, settled):
        return route
    changes = {"read_until": settled, **(_kept(readings[-1]) if readings else {})}
    return routing.edit_ledger(route, analysis=ledger.model_copy(update=changes))


def settled_until(seen: Seen) -> int:
    """Unix time in seconds before which no run is in flight on any pod that answered."""
    return slot_start(min(observed.settled_until for observed in seen.observations))


def ahead(route: AgentRouteSpec, seen: Seen, now: datetime) -> Judgement | None:
    """A Fail that shows already in slots whose runs have not all ended; else None. It is never stored, nor a Pass.

    A run in flight counts as stable's failure and as the canary's success, so that it can only hide a Fail. Each slot
    is looked at with those before it alone: what has begun since must not hide what has ended.
    """
    comparison = Comparison.of(route, seen, margins_of(seen.rollout.canary.analysis))
    if comparison is None:
        return None
    ledger = route.rollout.analysis or first_ledger(route, seen, now)
    for reading in comparison.readings(_reading_of(ledger), ledger.read_until, now.timestamp()):
        if fails(_metrics_of(reading.evidence, seen), ALPHA):
            return _judged(reading.evidence, ledger, seen, now)
    return None


def behind_seconds(route: AgentRouteSpec, seen: Seen, now: datetime) -> int | None:
    """How far the evidence is behind, as a run is in flight that began then; None if it is not, or nobody knows.

    In steps of BEHIND_STEP_SECONDS, so that it does not change at each look.
    """
    if not is_known(seen) or routing.name_of(route, Role.CANARY) is None:
        return None
    behind = int(now.timestamp() - settled_until(seen)) // BEHIND_STEP_SECONDS * BEHIND_STEP_SECONDS
    return behind or None


def _due(ledger: AnalysisLedger, settled: int) -> bool:
    """Whether silence must be noted too, before pods forget the slots it is counted from."""
    return settled - ledger.read_until > RETAINED_SECONDS // 2


def first_ledger(route: AgentRouteSpec, seen: Seen, now: datetime) -> AnalysisLedger:
    """The ledger of an analysis, with nothing read but what stable did before the rollout; its clock is the step's."""
    stable, began = routing.name_of(route, Role.STABLE), route.rollout.started_at or now
    history = [s for s in plausible_slots(seen.observations) if s.revision == stable and s.epoch < route.epoch]
    failures = sum(slot.failures for slot in history)
    counts = (sum(slot.requests for slot in history) - failures, failures)
    first, nothing = to_state(initial_evidence(counts if sum(counts) else None)), to_state(initial_evidence(None))
    return AnalysisLedger(
        read_until=slot_start(began.timestamp()),
        started_at=route.rollout.step_since or now,
        evidence={q.value: nothing if q is Question.UNANSWERED else first for q in Question},
    )


def _reading_of(ledger: AnalysisLedger) -> Reading:
    evidence = {question.value: _evidence_of(ledger, question) for question in Question}
    return Reading(evidence, read_counted(ledger.users), read_counted(ledger.later))


def _kept(reading: Reading) -> dict[str, object]:
    evidence = {name: to_state(evidence) for name, evidence in reading.evidence.items()}
    return {"evidence": evidence, "users": str(reading.users), "later": str(reading.later)}


def _evidence_of(ledger: AnalysisLedger, question: Question) -> Evidence:
    """Evidence of a question; that of another version, or of a question that is new, begins anew."""
    try:
        return from_state(ledger.evidence.get(question.value, ""))
    except EvidenceStateError:
        return initial_evidence(None)


def margins_of(analysis: Analysis) -> dict[str, Margin]:
    """Most that the canary may be worse, by question."""
    errors = margin_of(analysis.metrics[0])
    return {Question.FIRST: errors, Question.LATER: errors, Question.UNANSWERED: Margin(UNANSWERED_INCREASE)}


def margin_of(metric: AnalysisMetric) -> Margin:
    """Most that the canary may be worse."""
    return Margin(increase=min(fraction(metric.max_increase), 0.99))


def judge(route: AgentRouteSpec, seen: Seen, now: datetime) -> Judgement | None:
    """Judge the canary as of now; None while nothing was read."""
    ledger = route.rollout.analysis
    return None if ledger is None else _judged(_reading_of(ledger).evidence, ledger, seen, now)


def _metrics_of(evidence: Mapping[str, Evidence], seen: Seen) -> list[MetricEvidence]:
    analysis = seen.rollout.canary.analysis
    margins = margins_of(analysis)
    gating = any(metric.gating for metric in analysis.metrics)
    return [
        MetricEvidence(
            name=question.value,
            evidence=evidence[question],
            margin=margins[question],
            gating=gating,
            proves=question is Question.FIRST,
            weight=WEIGHTS[question],
        )
        for question in Question
    ]


def _judged(evidence: Mapping[str, Evidence], ledger: AnalysisLedger, seen: Seen, now: datetime) -> Judgement:
    analysis = seen.rollout.canary.analysis
    return judge_metrics(
        _metrics_of(evidence, seen),
        unit="users" if seen.rollout.canary.stickiness is Stickiness.USER else "conversations",
        step_canary_units=evidence[Question.FIRST].step.canary_requests,
        min_samples=analysis.min_samples,
        elapsed_s=(now - ledger.started_at).total_seconds(),
        max_duration_s=seconds(analysis.max_duration),
        alpha=ALPHA,
    )


def renew(ledger: AnalysisLedger | None, now: datetime) -> AnalysisLedger | None:
    """The ledger at the begin of a step: the evidence stays, the counts of the step begin at zero."""
    return _begin(ledger, now, begin_step)


def restart(ledger: AnalysisLedger | None, now: datetime) -> AnalysisLedger | None:
    """The ledger with the evidence begun anew; what was read stays read, and what is known of stable stays known."""
    return _begin(ledger, now, _forget)


def _forget(evidence: Evidence) -> Evidence:
    return replace(initial_evidence(None), baseline=evidence.baseline, history_mean=evidence.history_mean)


def _begin(
    ledger: AnalysisLedger | None, now: datetime, change: Callable[[Evidence], Evidence]
) -> AnalysisLedger | None:
    if ledger is None:
        return None
    evidence = {}
    for name, state in ledger.evidence.items():
        try:
            evidence[name] = to_state(change(from_state(state)))
        except EvidenceStateError:
            evidence[name] = to_state(initial_evidence(None))
    changes = {"evidence": evidence, "started_at": now.astimezone(UTC), "inconclusive": False}
    return ledger.model_copy(update=changes)
