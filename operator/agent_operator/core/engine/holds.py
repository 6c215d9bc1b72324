"""What holds a step until it is passed: pauses, the analysis, the budget, `spec.paused`."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent_api.quantities import seconds
from agent_api.v1alpha1.rollout import OnInconclusive, Pause, Step
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_api.v1alpha1.status import Verdict
from agent_operator.core import judging, routing
from agent_operator.core.engine.looks import LOOK_AT_ANALYSIS, LOOK_AT_HOLD, analysis_look
from agent_operator.core.engine.safety import take_back
from agent_operator.core.facts import Note, Seen, Transition


def paused(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    """`spec.paused` holds the canary where it is; safety goes on."""
    canary = routing.name_of(route, Role.CANARY)
    if canary is None or not seen.paused:
        return None
    return Transition(route, look_again=analysis_look(route), waiting="spec.paused is true; set it to false to go on")


def held(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A canary that was kept back for its spend goes on when there is budget again, or when a person says so."""
    hold = route.rollout.budget_hold
    if routing.find(route, Role.CANARY) is None or hold is None or not hold.held or route.rollout.promote_full:
        return None
    spend = seen.canary_spend
    if not hold.released and (spend is None or spend.exhausted):
        waiting = (
            "the canary has spent its share of the day's budget; it goes on when the day is over,"
            " or type `kubectl agent promote` to let it go on now, `abort` to take it back"
        )
        return Transition(route, waiting=waiting, look_again=LOOK_AT_HOLD)
    weight = _weight_before(seen.rollout.canary.steps, route.rollout.step_index)
    why = "a person lets it" if hold.released else "its share of the budget is not spent any more"
    note = Note(warning=False, reason="CanaryBudgetResumed", message=f"the canary goes on at weight {weight} %: {why}")
    changed = routing.end_hold(route, weight, judging.renew(route.rollout.analysis, now), now)
    return Transition(changed, notes=(note,), look_again=0)


def _weight_before(steps: tuple[Step, ...], index: int) -> int:
    """Weight that the steps before an index gave the canary."""
    return next((step.set_weight for step in reversed(steps[:index]) if step.set_weight is not None), 0)


def passed(route: AgentRouteSpec, seen: Seen, why: str, now: datetime) -> Transition:
    """Go on to the next step, and say why this one is passed."""
    position = f"{route.rollout.step_index + 1}/{len(seen.rollout.canary.steps)}"
    note = Note(warning=False, reason="RolloutStepCompleted", message=f"step {position}: {why}")
    return Transition(
        routing.next_step(route, judging.renew(route.rollout.analysis, now), now), notes=(note,), look_again=0
    )


def pause_step(route: AgentRouteSpec, seen: Seen, pause: Pause, now: datetime) -> Transition:
    """A pause ends after its duration, or by `promote`."""
    if pause.duration is None:
        waiting = "paused by its step; type `kubectl agent promote` to go on, `abort` to take it back"
        return Transition(route, waiting=waiting, look_again=analysis_look(route))
    since = route.rollout.step_since
    if since is None:
        return Transition(routing.edit_ledger(route, step_since=now), look_again=0)
    left = (since + timedelta(seconds=seconds(pause.duration)) - now).total_seconds()
    if left <= 0:
        return passed(route, seen, f"paused for {pause.duration}", now)
    return Transition(route, waiting=f"paused for {pause.duration}", look_again=min(left, analysis_look(route)))


def analyze_step(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition:
    """An analysis ends by its verdict, or by `onInconclusive` at maxDuration."""
    judgement = judging.judge(route, seen, now)
    if judgement is None:
        if routing.canary_weight(route) == 0:
            return passed(route, seen, "nothing to analyze at weight 0", now)
        return _without_requests(route, seen, now)
    if judgement.verdict is Verdict.PASS:
        return passed(route, seen, judgement.message, now)
    if judgement.verdict is Verdict.INCONCLUSIVE:
        return _inconclusive(route, seen, judgement.message, now)
    waiting = f"analysis: {judgement.message}{_behind(route, seen, now)}"
    return Transition(route, waiting=waiting, look_again=LOOK_AT_ANALYSIS)


def _behind(route: AgentRouteSpec, seen: Seen, now: datetime) -> str:
    behind = judging.behind_seconds(route, seen, now)
    return "" if behind is None else f"; the evidence is {behind} s behind, as a run that began then is still in flight"


def _without_requests(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition:
    """Nothing was read yet: the step's clock runs all the same, and at maxDuration there is no verdict."""
    since = route.rollout.step_since
    if since is None:
        return Transition(routing.edit_ledger(route, step_since=now), look_again=0)
    if (now - since).total_seconds() >= seconds(seen.rollout.canary.analysis.max_duration):
        return Transition(routing.edit_ledger(route, analysis=judging.first_ledger(route, seen, since)), look_again=0)
    waiting = f"the analysis waits for its first requests{_behind(route, seen, now)}"
    return Transition(route, waiting=waiting, look_again=LOOK_AT_ANALYSIS)


def _inconclusive(route: AgentRouteSpec, seen: Seen, why: str, now: datetime) -> Transition:
    policy = seen.rollout.canary.analysis.on_inconclusive
    if policy is OnInconclusive.ROLLBACK:
        return take_back(route, "AnalysisInconclusive", why, now)
    if policy is OnInconclusive.PROMOTE:
        return passed(route, seen, f"inconclusive, passed by onInconclusive: {why}", now)
    analysis = route.rollout.analysis
    if analysis is not None and not analysis.inconclusive:
        marked = routing.edit_ledger(route, analysis=analysis.model_copy(update={"inconclusive": True}))
        note = Note(warning=True, reason="AnalysisInconclusive", message=why)
        return Transition(marked, notes=(note,), look_again=0)
    waiting = f"analysis inconclusive: {why}; type `kubectl agent promote` or `abort`"
    return Transition(route, waiting=waiting, look_again=LOOK_AT_ANALYSIS)
