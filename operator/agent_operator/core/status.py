"""The report on an agent: phase, one line, conditions, figures. Nobody reads it back as a command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_api.v1alpha1.route import AgentRouteSpec, Role, RouteRevision
from agent_api.v1alpha1.status import Phase
from agent_operator.core import reports, routing
from agent_operator.core.analysis.verdict import Judgement, MetricReport
from agent_operator.core.conditions import Aspect, with_history
from agent_operator.core.engine.goal import steps_hash
from agent_operator.core.facts import RevisionHealth, Seen
from agent_operator.core.names import COMPONENT_REVISION, agent_labels, selector_text
from agent_operator.core.resources.agent import agent_url
from agent_operator.core.snapshot import Decision, Problem, Snapshot

MAX_LINE = 1024
_HARMLESS = frozenset({"PlacementDeferred", "PodsFailing", "PodsNotReady", "CanaryBudgetExhausted", *reports.TYPES})


@dataclass(frozen=True, slots=True)
class _View:
    """What the report is written from, once the route is known."""

    snapshot: Snapshot
    decision: Decision
    route: AgentRouteSpec
    seen: Seen
    problems: tuple[Problem, ...]
    stable: str
    canary: str | None
    health: RevisionHealth

    @property
    def replicas(self) -> int:
        return self.snapshot.agent.spec.replicas

    @property
    def available(self) -> bool:
        return self.replicas == 0 or self.health.ready > 0

    @property
    def rejected(self) -> bool:
        rejection = self.route.rollout.rejected
        return rejection is not None and self.canary is None and self.stable != rejection.revision

    @property
    def held(self) -> bool:
        if self.canary is None:
            return self.snapshot.agent.spec.paused and not self.on_goal and self.route.rollout.stable_available
        return self.snapshot.agent.spec.paused or self.overspent or self._step_holds

    @property
    def overspent(self) -> bool:
        """Whether the canary is kept at weight 0 for its spend."""
        hold = self.route.rollout.budget_hold
        return hold is not None and hold.held

    @property
    def _step_holds(self) -> bool:
        steps, index = self.snapshot.agent.spec.rollout.canary.steps, self.route.rollout.step_index
        if index >= len(steps) or self.route.rollout.promote_full:
            return False
        analysis = self.route.rollout.analysis
        return steps[index].pause is not None or (analysis is not None and analysis.inconclusive)

    @property
    def on_goal(self) -> bool:
        """Whether what the spec asks for, as far as is known, gets all new conversations."""
        return self.canary is None and self.stable == self.seen.target

    @property
    def complete(self) -> bool:
        """Whether what the spec asks for serves, whole."""
        return (
            not self.snapshot.changing
            and self.on_goal
            and self.health.available(self.replicas)
            and self.route.rollout.stable_available
        )

    @property
    def connected(self) -> bool:
        return self.snapshot.agent.name in self.snapshot.live.services


def make_status(snapshot: Snapshot, decision: Decision, problems: tuple[Problem, ...], now: datetime) -> dict[str, Any]:
    """Status of an AgentDeployment, as it is stored."""
    agent = snapshot.agent
    before = agent.status.get("conditions", ())
    if decision.route is None or decision.seen is None:
        aspects = list(_without_route(decision, problems))
        message = problems[0].message if problems else decision.waiting or "waiting for the first revision"
        phase = Phase.DEGRADED if problems else Phase.PROGRESSING
        return {
            "observedGeneration": agent.generation,
            "phase": phase.value,
            "message": message[:MAX_LINE],
            "conditions": with_history(aspects, before, agent.generation, now),
        }
    stable = routing.name_of(decision.route, Role.STABLE) or ""
    health = decision.seen.health(stable)
    canary = routing.name_of(decision.route, Role.CANARY)
    view = _View(snapshot, decision, decision.route, decision.seen, problems, stable, canary, health)
    return {
        "observedGeneration": agent.generation,
        "phase": _phase(view).value,
        "message": _message(view)[:MAX_LINE],
        "conditions": with_history(_aspects(view), before, agent.generation, now),
        **_revisions(view),
        **_progress(view),
        **_figures(view),
    }


def _without_route(decision: Decision, problems: tuple[Problem, ...]) -> Iterator[Aspect]:
    reason = problems[0].reason if problems else "Waiting"
    message = problems[0].message if problems else decision.waiting or "waiting for the first revision"
    yield Aspect("Ready", status=False, reason=reason, message=message)
    yield Aspect("Available", status=False, reason=reason, message="nothing serves yet")
    yield Aspect("Reconciling", status=not problems, reason=reason, message=message)
    yield Aspect("Stalled", status=bool(problems), reason=reason, message=message)
    yield from _problem_aspects(problems)


def _problem_aspects(problems: tuple[Problem, ...]) -> Iterator[Aspect]:
    seen = set()
    for problem in problems:
        if problem.type not in seen:
            seen.add(problem.type)
            yield Aspect(problem.type, status=True, reason=problem.reason, message=problem.message)


def _serious(view: _View) -> Problem | None:
    return next((problem for problem in view.problems if problem.type not in _HARMLESS), None)


def _phase(view: _View) -> Phase:
    if _serious(view) is not None or view.rejected:
        return Phase.DEGRADED
    if view.canary is None and view.route.rollout.stable_available and not view.available:
        return Phase.DEGRADED
    if view.canary is None and (view.health.failure is not None or view.decision.overdue):
        return Phase.DEGRADED
    if view.held:
        return Phase.PAUSED
    return Phase.HEALTHY if view.complete and view.connected else Phase.PROGRESSING


def _message(view: _View) -> str:
    text = _situation(view)
    return f"suspended: new runs are refused; {text}" if view.route.suspended else text


def _situation(view: _View) -> str:
    problem = _serious(view)
    if problem is not None:
        return problem.message
    if view.canary is not None:
        return _rolling(view)
    if view.rejected:
        return _taken_back(view)
    if view.health.failure is not None:
        return f"{view.stable}: {view.health.failure.message}"
    if view.snapshot.changing:
        return f"{view.stable} serves; waiting for the instructions to settle"
    if not view.complete:
        waits = view.decision.waiting or f"{view.stable}: {view.health.ready} of {view.replicas} pods are ready"
        detail = view.health.not_ready_reason
        return f"{waits} ({detail})" if detail and detail not in waits else waits
    if not view.connected:
        return f"{view.stable} is available; waiting until every ready gateway has confirmed its listener"
    return f"{view.stable} serves"


def _rolling(view: _View) -> str:
    position = _position(view)
    where = f"{view.canary} at {routing.canary_weight(view.route)} %"
    waiting = view.decision.waiting or "going on"
    return f"step {position}: {where}: {waiting}" if position else f"{where}: {waiting}"


def _taken_back(view: _View) -> str:
    rejection = view.route.rollout.rejected
    if rejection is None:
        return f"{view.stable} serves"
    return (
        f"{rejection.revision} was taken back ({rejection.reason}): {rejection.message}; {view.stable} serves."
        f" Change the spec, or type `{_verb(view, 'retry')}`"
    )


def _verb(view: _View, verb: str) -> str:
    return f"kubectl agent {verb} {view.snapshot.agent.name} -n {view.snapshot.agent.namespace}"


def _position(view: _View) -> str | None:
    steps = len(view.snapshot.agent.spec.rollout.canary.steps)
    if view.canary is None or not steps:
        return None
    return f"{min(view.route.rollout.step_index + 1, steps)}/{steps}"


def _aspects(view: _View) -> Iterator[Aspect]:
    phase, message = _phase(view), _message(view)
    problem = _serious(view)
    reason = _reason(view)
    stalled = phase is Phase.DEGRADED
    ready = phase is Phase.HEALTHY
    yield Aspect("Ready", status=ready, reason=reason, message=message)
    available = f"{view.stable}: {_ready_text(view)} pods are ready"
    yield Aspect(
        "Available", status=view.available, reason="PodsReady" if view.available else "NoPods", message=available
    )
    progressing = not stalled and not ready and not view.held
    yield Aspect("Progressing", status=progressing, reason=reason, message=message)
    yield Aspect("Reconciling", status=not stalled and not ready, reason=reason, message=message)
    yield Aspect(
        "Stalled", status=stalled, reason=reason if stalled else "NotStalled", message=message if stalled else ""
    )
    yield Aspect(
        "Paused", status=view.held, reason=reason if view.held else "NotPaused", message=message if view.held else ""
    )
    yield from _problem_aspects(view.problems)
    if problem is None:
        yield from _gateway_aspect(view)


def _gateway_aspect(view: _View) -> Iterator[Aspect]:
    errors = view.snapshot.gateways.errors(view.route)
    if errors:
        yield Aspect("GatewayRejected", status=True, reason="NotInForce", message="; ".join(errors))


def _reason(view: _View) -> str:
    problem = _serious(view)
    if problem is not None:
        return problem.reason
    rejection = view.route.rollout.rejected
    if view.rejected and rejection is not None:
        return "RolledBack" if rejection.reason not in {"Undone", "Aborted"} else rejection.reason
    if view.canary is None and view.health.failure is not None:
        return view.health.failure.reason.value
    if view.decision.overdue:
        return "ProgressDeadlineExceeded"
    if view.held:
        return _hold_reason(view)
    if view.canary is not None:
        return "RolloutInProgress"
    if view.complete:
        return "RolloutCompleted" if view.connected else "WaitingForGateway"
    return "WaitingForPods"


def _hold_reason(view: _View) -> str:
    if view.snapshot.agent.spec.paused:
        return "SpecPaused"
    if view.overspent:
        return "CanaryBudgetExhausted"
    analysis = view.route.rollout.analysis
    return "AnalysisInconclusive" if analysis is not None and analysis.inconclusive else "CanaryPauseStep"


def _revisions(view: _View) -> dict[str, Any]:
    ledger = view.route.rollout
    status: dict[str, Any] = {"stableRevision": view.stable, "url": agent_url(*_place(view))}
    if view.canary is not None:
        status["canaryRevision"] = view.canary
        status["canaryWeight"] = routing.canary_weight(view.route)
    if ledger.rejected is not None:
        status["rejectedRevision"] = ledger.rejected.revision
    if ledger.last_rollback is not None:
        status["lastRollback"] = ledger.last_rollback.model_dump(mode="json", by_alias=True)
    if ledger.command is not None:
        status["observedCommand"] = ledger.command.model_dump(mode="json", by_alias=True)
    status["traffic"] = [
        {"revision": entry.name, "weight": entry.weight, "verified": _is_verified(view, entry)}
        for entry in view.route.revisions
    ]
    return status


def _is_verified(view: _View, entry: RouteRevision) -> bool:
    """Whether gateways have confirmed a share; a new leader that has not asked them yet goes on with what was told."""
    if view.decision.acknowledged or view.snapshot.gateways.asked:
        return view.decision.acknowledged
    told = {"revision": entry.name, "weight": entry.weight, "verified": True}
    return told in view.snapshot.agent.status.get("traffic", ())


def _place(view: _View) -> tuple[str, str]:
    return view.snapshot.agent.name, view.snapshot.agent.namespace


def _progress(view: _View) -> dict[str, Any]:
    if view.canary is None:
        return {}
    status: dict[str, Any] = {
        "currentStepIndex": view.route.rollout.step_index,
        "stepsHash": view.route.rollout.steps_hash or steps_hash(view.seen),
    }
    position = _position(view)
    if position is not None:
        status["step"] = position
    if view.decision.judgement is not None:
        status["analysis"] = _analysis(view.decision.judgement)
        if view.decision.behind_seconds is not None:
            status["analysis"]["behindSeconds"] = view.decision.behind_seconds
    return status


def _analysis(judgement: Judgement) -> dict[str, Any]:
    return {
        "verdict": judgement.verdict.value,
        "message": judgement.message[:MAX_LINE],
        "metrics": [_metric(report) for report in judgement.metrics],
    }


def _metric(report: MetricReport) -> dict[str, Any]:
    return {
        "name": report.name,
        "verdict": report.verdict.value,
        "canary": _share(report.canary),
        "stable": _share(report.stable),
        "canaryRequests": report.canary_requests,
        "stableRequests": report.stable_requests,
        "message": _evidence_line(report),
    }


def _evidence_line(report: MetricReport) -> str:
    passing = "" if report.pass_percent is None else f", to pass {report.pass_percent} %"
    parts = [f"evidence to fail {report.fail_percent} %{passing}"]
    if report.estimate is not None:
        low, high = 100 * report.estimate.low, 100 * report.estimate.high
        parts.insert(0, f"canary {100 * report.estimate.difference:+.1f} points [{low:+.1f}, {high:+.1f}]")
    if report.requests_to_go is not None:
        parts.append(f"about {report.requests_to_go} more at the canary")
    return "; ".join(parts)


def _share(number: float | None) -> str:
    return "-" if number is None else f"{100 * number:.1f} %"


def _ready_text(view: _View) -> str:
    return f"{view.health.ready}/{view.replicas}"


def _figures(view: _View) -> dict[str, Any]:
    spend = view.decision.spend
    told = {} if spend is None else {"spend": spend.model_dump(mode="json", by_alias=True, exclude_none=True)}
    return {
        **told,
        "replicas": sum(view.seen.health(entry.name).pods for entry in view.route.revisions),
        "readyReplicas": view.health.ready,
        "ready": _ready_text(view),
        "selector": selector_text(agent_labels(view.snapshot.agent.name, COMPONENT_REVISION)),
    }
