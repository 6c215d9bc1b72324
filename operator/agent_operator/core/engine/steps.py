"""The gates that go through the steps."""

from __future__ import annotations

from datetime import datetime

from agent_api.v1alpha1.rollout import Step
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import judging, routing
from agent_operator.core.engine.course import promote
from agent_operator.core.engine.goal import steps_hash
from agent_operator.core.engine.holds import analyze_step, passed, pause_step
from agent_operator.core.engine.looks import LOOK_AT_ANALYSIS
from agent_operator.core.facts import Note, Seen, Transition


def edited(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Edited steps and analysis are taken up at once."""
    if routing.find(route, Role.CANARY) is None or route.rollout.steps_hash == steps_hash(seen):
        return None
    steps = seen.rollout.canary.steps
    index = _resumed(steps, routing.canary_weight(route))
    note = Note(warning=False, reason="StepsEdited", message=f"the rollout resumes at step {index + 1}/{len(steps)}")
    anew = judging.restart(route.rollout.analysis, now)
    return Transition(routing.resume_at(route, index, steps_hash(seen), anew), notes=(note,), look_again=0)


def _resumed(steps: tuple[Step, ...], weight: int) -> int:
    """First step whose weight is not below the present one; if none is, the last one with a weight: never unproven."""
    weighing = [(index, step.set_weight) for index, step in enumerate(steps) if step.set_weight is not None]
    if weight == 0 or not weighing:
        return 0
    return next((index for index, wanted in weighing if wanted >= weight), weighing[-1][0])


def step(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Go through the steps, and promote at their end."""
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        return None
    steps = seen.rollout.canary.steps
    index = route.rollout.step_index
    if route.rollout.promote_full or index >= len(steps):
        note = Note(warning=False, reason="RolloutCompleted", message=f"{canary} is promoted")
        return Transition(promote(route, seen, now), notes=(note,), look_again=0)
    return _hold(route, seen, steps[index], now)


def _hold(route: AgentRouteSpec, seen: Seen, present: Step, now: datetime) -> Transition:
    if present.set_weight is not None:
        return _set_weight(route, seen, present.set_weight, now)
    if not seen.acknowledged:
        return Transition(route, waiting="the gateways have not confirmed the weight yet", look_again=LOOK_AT_ANALYSIS)
    if present.pause is not None:
        return pause_step(route, seen, present.pause, now)
    return analyze_step(route, seen, now)


def lower(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A step that lowers the weight waits for nothing."""
    steps, index = seen.rollout.canary.steps, route.rollout.step_index
    if routing.find(route, Role.CANARY) is None or seen.paused or index >= len(steps):
        return None
    weight = steps[index].set_weight
    if weight is None or weight >= routing.canary_weight(route) or route.rollout.promote_full:
        return None
    return _set_weight(route, seen, weight, now)


def _set_weight(route: AgentRouteSpec, seen: Seen, weight: int, now: datetime) -> Transition:
    if routing.canary_weight(route) != weight:
        note = Note(warning=False, reason="TrafficWeightUpdated", message=f"canary weight {weight} %")
        return Transition(routing.weigh(route, weight, now), notes=(note,), look_again=0)
    if not seen.acknowledged:
        waiting = f"waiting until every ready gateway has confirmed weight {weight} %"
        return Transition(route, waiting=waiting, look_again=LOOK_AT_ANALYSIS)
    return passed(route, seen, f"every ready gateway serves weight {weight} %", now)
