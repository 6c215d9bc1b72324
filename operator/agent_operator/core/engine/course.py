"""The gates that begin a rollout, end one that nobody wants any more, and end drains."""

from __future__ import annotations

from datetime import datetime

from agent_api.quantities import seconds
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.engine.goal import goal_of, steps_hash
from agent_operator.core.engine.looks import until_drained
from agent_operator.core.facts import Note, Seen, Transition


def spec_changed(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    """What was taken back is forgotten when the spec asks for something else."""
    rejected = route.rollout.rejected
    if rejected is None or rejected.revision == seen.target:
        return None
    return Transition(routing.edit_ledger(route, rejected=None, undo_to=None), look_again=0)


def superseded(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    """A canary that nobody asks for any more is withdrawn."""
    canary = routing.name_of(route, Role.CANARY)
    goal = goal_of(route, seen)
    if canary is None or canary == goal or (seen.paused and goal != routing.name_of(route, Role.STABLE)):
        return None
    note = Note(warning=False, reason="RolloutSuperseded", message=f"{canary} is withdrawn: the spec asks for {goal}")
    return Transition(routing.withdraw(route, None), notes=(note,), look_again=0)


def drained(route: AgentRouteSpec, _seen: Seen, now: datetime) -> Transition | None:
    """Old revisions whose time to drain is over are dropped."""
    changed = routing.end_drains(route, now)
    return None if changed is route else Transition(changed, look_again=0)


def begin(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A revision that should serve becomes the canary; without steps if it served lately or there are no pods."""
    stable = routing.name_of(route, Role.STABLE)
    goal = goal_of(route, seen)
    if goal == stable or routing.name_of(route, Role.CANARY) is not None:
        return None
    if seen.paused:
        waiting = f"{goal} is not begun: spec.paused is true; set it to false to go on"
        return Transition(route, waiting=waiting, look_again=until_drained(route, now))
    window = [name for name in route.rollout.history if name != stable][: seen.rollout.rollback_window]
    promote_full = goal in window or goal == route.rollout.undo_to or seen.replicas == 0
    how = "without steps" if promote_full else f"in {len(seen.rollout.canary.steps)} steps"
    note = Note(warning=False, reason="RolloutStarted", message=f"{goal} is rolled out {how}, from {stable}")
    changed = routing.begin(route, goal, steps_hash(seen), now, promote_full=promote_full)
    drains = any(drain.revision == goal for drain in route.rollout.draining)
    if promote_full and drains and seen.health(goal).available(seen.replicas):
        changed = promote(changed, seen, now).model_copy(update={"serial": changed.serial})
    return Transition(changed, notes=(note,), look_again=0)


def promote(route: AgentRouteSpec, seen: Seen, now: datetime) -> AgentRouteSpec:
    """Make the canary stable; with no replicas there is nothing to drain."""
    drain = seconds(seen.rollout.conversation_drain) if seen.replicas else 0.0
    return routing.promote(route, drain, seen.rollout.revision_history_limit, now)
