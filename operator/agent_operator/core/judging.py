"""From observations to a verdict: which requests count, in which slot, and what the evidence then says.

A slot is read once all its requests have ended on every pod, and never again: `read_until` and the evidence that
the slots made are written together. Only conversations begun in this epoch count, up to their first failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agent_api.observations import RETAINED_SECONDS, Observations, Slot, slot_start
from agent_api.quantities import fraction, seconds
from agent_api.v1alpha1.rollout import AnalysisMetric
from agent_api.v1alpha1.route import AgentRouteSpec, AnalysisLedger, Role
from agent_operator.core import routing
from agent_operator.core.analysis.betting import begin_step, initial_evidence, observe
from agent_operator.core.analysis.evidence import Evidence, Margin
from agent_operator.core.analysis.state import EvidenceStateError, from_state, to_state
from agent_operator.core.analysis.verdict import Judgement, MetricEvidence
from agent_operator.core.analysis.verdict import judge as judge_metrics
from agent_operator.core.facts import Seen

ALPHA = 0.05
MAX_FAILED_CONVERSATIONS = 1000
MAX_REQUESTS = 1_000_000
MAX_HASH_LENGTH = 16


@dataclass(frozen=True, slots=True)
class _Counted:
    """Requests of one revision in one slot, over all pods."""

    requests: int = 0
    failures: int = 0
    conversations: int = 0

    @property
    def buckets(self) -> tuple[int, int]:
        """Requests that did well, and that failed."""
        return self.requests - self.failures, self.failures


def read(route: AgentRouteSpec, seen: Seen, now: datetime) -> AgentRouteSpec:
    """Add settled slots to the evidence; the same route if there is nothing new."""
    stable, canary = routing.name_of(route, Role.STABLE), routing.name_of(route, Role.CANARY)
    if not seen.complete or not seen.observations or stable is None or canary is None:
        return route
    settled = slot_start(min(observed.settled_until for observed in seen.observations))
    ledger = route.rollout.analysis or first_ledger(route, seen, now)
    changed = _read_slots(ledger, route, seen, (stable, canary, settled))
    if changed is ledger and not _due(ledger, settled):
        return route
    return routing.edit_ledger(route, analysis=changed.model_copy(update={"read_until": settled}))


def _due(ledger: AnalysisLedger, settled: int) -> bool:
    """Whether silence must be noted too, before pods forget the slots it is counted from."""
    return settled - ledger.read_until > RETAINED_SECONDS // 2


def first_ledger(route: AgentRouteSpec, seen: Seen, now: datetime) -> AnalysisLedger:
    """The ledger of an analysis that begins at `now`, with nothing read but what stable did before the rollout."""
    stable, began = routing.name_of(route, Role.STABLE), route.rollout.started_at or now
    history = [s for s in _slots(seen.observations) if s.revision == stable and s.epoch < route.epoch]
    failures = sum(slot.failures for slot in history)
    counts = (sum(slot.requests for slot in history) - failures, failures)
    evidence = to_state(initial_evidence(counts if sum(counts) else None))
    metrics = seen.rollout.canary.analysis.metrics
    return AnalysisLedger(
        read_until=slot_start(began.timestamp()),
        started_at=now,
        evidence={metric.name.value: evidence for metric in metrics},
    )


def _slots(observations: Iterable[Observations]) -> Iterable[Slot]:
    return (slot for observed in observations for slot in observed.slots if _is_plausible(slot))


def _is_plausible(slot: Slot) -> bool:
    """Whether the counts of a slot fit together: a runtime image may be anybody's, and must not stop the operator."""
    return (
        len(slot.failed_conversations) <= slot.failures <= slot.requests <= MAX_REQUESTS
        and slot.conversations <= slot.requests
        and all(len(name) <= MAX_HASH_LENGTH for name in slot.failed_conversations)
    )


def _read_slots(
    ledger: AnalysisLedger, route: AgentRouteSpec, seen: Seen, between: tuple[str, str, int]
) -> AnalysisLedger:
    stable, canary, settled = between
    fresh = sorted(
        (
            slot
            for slot in _slots(seen.observations)
            if slot.epoch == route.epoch
            and slot.revision in {stable, canary}
            and ledger.read_until <= slot.start < settled
            and slot.requests
        ),
        key=lambda slot: slot.start,
    )
    failed = dict.fromkeys(ledger.failed_conversations)
    for start in sorted({slot.start for slot in fresh}):
        together = [slot for slot in fresh if slot.start == start]
        counted = {
            name: _count((slot for slot in together if slot.revision == name), failed) for name in (stable, canary)
        }
        ledger = _observe(ledger, seen, counted[stable], counted[canary])
    if not fresh:
        return ledger
    return ledger.model_copy(update={"failed_conversations": tuple(failed)[:MAX_FAILED_CONVERSATIONS]})


def _count(slots: Iterable[Slot], failed: dict[str, None]) -> _Counted:
    """Sum slots; a conversation that failed before counts no more. `failed` grows by those that fail here."""
    requests = failures = conversations = 0
    for slot in slots:
        again = 0
        for name in slot.failed_conversations:
            again += name in failed
            failed[name] = None
        requests += slot.requests - again
        failures += slot.failures - again
        conversations += slot.conversations
    return _Counted(requests, failures, conversations)


def _observe(ledger: AnalysisLedger, seen: Seen, stable: _Counted, canary: _Counted) -> AnalysisLedger:
    evidence = {
        metric.name.value: to_state(
            observe(_evidence_of(ledger, metric), stable.buckets, canary.buckets, margin_of(metric))
        )
        for metric in seen.rollout.canary.analysis.metrics
    }
    conversations = ledger.step_conversations + canary.conversations
    return ledger.model_copy(update={"evidence": evidence, "step_conversations": conversations})


def _evidence_of(ledger: AnalysisLedger, metric: AnalysisMetric) -> Evidence:
    """Evidence of a metric; that of another version, or of a metric just added, begins anew."""
    try:
        return from_state(ledger.evidence.get(metric.name.value, ""))
    except EvidenceStateError:
        return initial_evidence(None)


def margin_of(metric: AnalysisMetric) -> Margin:
    """Most that the canary may be worse."""
    return Margin(increase=min(fraction(metric.max_increase), 0.99))


def judge(route: AgentRouteSpec, seen: Seen, now: datetime) -> Judgement | None:
    """Judge the canary as of now; None while nothing was read."""
    ledger = route.rollout.analysis
    if ledger is None:
        return None
    analysis = seen.rollout.canary.analysis
    metrics = [
        MetricEvidence(
            name=metric.name.value,
            evidence=_evidence_of(ledger, metric),
            margin=margin_of(metric),
            gating=metric.gating,
        )
        for metric in analysis.metrics
    ]
    return judge_metrics(
        metrics,
        step_canary_requests=max(metric.evidence.step.canary_requests for metric in metrics),
        step_canary_conversations=ledger.step_conversations,
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
    changes = {"evidence": evidence, "started_at": now.astimezone(UTC), "step_conversations": 0, "inconclusive": False}
    return ledger.model_copy(update=changes)
