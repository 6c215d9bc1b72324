"""The gates that take a canary back, or weight from it."""

from __future__ import annotations

from datetime import datetime

from agent_api.quantities import dollars
from agent_api.v1alpha1.route import AgentRouteSpec, Rejection, Role
from agent_api.v1alpha1.status import Verdict
from agent_operator.core import judging, routing
from agent_operator.core.facts import Note, Seen, Transition


def broken(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A canary whose pods cannot work is taken back without statistics."""
    canary = routing.name_of(route, Role.CANARY)
    failure = None if canary is None else seen.health(canary).failure
    return None if failure is None else take_back(route, failure.reason.value, failure.message, now)


def take_back(route: AgentRouteSpec, reason: str, message: str, now: datetime) -> Transition:
    """Roll back: the canary serves nothing new, and is not tried again until the spec changes or `retry`."""
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        raise ValueError("there is no canary to take back")
    rejection = Rejection(revision=canary, reason=reason, message=message[:1024], time=now)
    note = Note(warning=True, reason="RolledBack", message=f"{canary} is taken back ({reason}): {message}"[:1000])
    return Transition(routing.withdraw(route, rejection), notes=(note,), look_again=0)


def overspent(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A canary that has spent its share of the day gets no new conversations; lowering waits for nothing."""
    ledger, spend = route.rollout, seen.canary_spend
    if routing.find(route, Role.CANARY) is None or ledger.promote_full or spend is None or not spend.exhausted:
        return None
    hold = ledger.budget_hold
    if (hold is None and routing.canary_weight(route) == 0) or (hold is not None and hold.day == spend.day):
        return None
    message = f"the canary has spent {dollars(spend.spent_micro)} USD, its share of the budget of {spend.day}"
    note = Note(warning=True, reason="CanaryBudgetExhausted", message=message)
    return Transition(routing.hold_for_budget(route, spend.day, now), notes=(note,), look_again=0)


def verdict(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Read new observations; a Fail takes the canary back wherever it stands, also while paused."""
    if routing.canary_weight(route) == 0:
        return None
    changed = judging.read(route, seen, now)
    judgement = judging.judge(changed, seen, now)
    if judgement is None or judgement.verdict is not Verdict.FAIL:
        judgement = judging.ahead(changed, seen, now)
    if judgement is not None and judgement.verdict is Verdict.FAIL:
        return take_back(changed, "AnalysisFailed", judgement.message, now)
    return None if changed is route else Transition(changed, look_again=0)
