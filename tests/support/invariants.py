"""What no transition of a rollout may break, whatever happened before it."""

from __future__ import annotations

from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.engine.goal import steps_hash
from agent_operator.core.facts import Seen, Transition

GATEWAY_FIELDS = ("port", "epoch", "suspended", "stickiness", "revisions")


def duties(route: AgentRouteSpec) -> tuple[object, ...]:
    """What gateways must do and acknowledge."""
    return tuple(getattr(route, name) for name in GATEWAY_FIELDS)


def check_transition(before: AgentRouteSpec, transition: Transition, seen: Seen, ever_available: set[str]) -> None:
    after = transition.route
    check_route(after)
    check_serial(before, after)
    check_steps(before, transition, seen)
    check_who_serves(before, after, ever_available)
    if after != before:
        assert transition.look_again == 0, "a changed route is decided on again at once"
    assert after.epoch - before.epoch in {0, 1}
    assert after.port == before.port


def check_route(route: AgentRouteSpec) -> None:
    roles = [entry.role for entry in route.revisions]
    names = [entry.name for entry in route.revisions]
    assert sum(entry.weight for entry in route.revisions) == 100
    assert roles.count(Role.STABLE) == 1
    assert roles.count(Role.CANARY) <= 1
    assert len(set(names)) == len(names)
    drains = {drain.revision for drain in route.rollout.draining}
    assert drains == {entry.name for entry in route.revisions if entry.role is Role.DRAINING}
    assert all(entry.weight == 0 for entry in route.revisions if entry.role is Role.DRAINING)
    written = route.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert AgentRouteSpec.model_validate(written) == route


def check_serial(before: AgentRouteSpec, after: AgentRouteSpec) -> None:
    changed = duties(before) != duties(after)
    assert after.serial - before.serial == (1 if changed else 0)
    assert after.lease.counter - before.lease.counter in {0, 1}


def check_steps(before: AgentRouteSpec, transition: Transition, seen: Seen) -> None:
    after = transition.route
    same_rollout = before.epoch == after.epoch and routing.name_of(after, Role.CANARY) is not None
    edited = before.rollout.steps_hash != after.rollout.steps_hash
    if same_rollout and not edited:
        assert after.rollout.step_index - before.rollout.step_index in {0, 1}, "a step was skipped"
    promoted = _promoted(before, after)
    if promoted:
        done = before.rollout.step_index >= len(seen.rollout.canary.steps)
        assert before.rollout.promote_full or done, "promoted with steps to go"
        assert before.rollout.steps_hash == steps_hash(seen), "promoted by steps that are not in force"
        assert seen.health(promoted).available(seen.replicas), "promoted while its pods are not available"
    raised = routing.canary_weight(after) > routing.canary_weight(before)
    if raised and not promoted:
        canary = routing.name_of(after, Role.CANARY) or ""
        assert seen.health(canary).available(seen.replicas), "raised while its pods are not available"
        assert not seen.paused, "raised while paused"


def _promoted(before: AgentRouteSpec, after: AgentRouteSpec) -> str | None:
    canary = routing.name_of(before, Role.CANARY)
    return canary if canary is not None and canary == routing.name_of(after, Role.STABLE) else None


def check_who_serves(before: AgentRouteSpec, after: AgentRouteSpec, ever_available: set[str]) -> None:
    stable = routing.name_of(after, Role.STABLE)
    if after.rollout.stable_available:
        assert stable in ever_available, "stable never served"
        assert before.rollout.stable_available or stable in ever_available
    rejected = after.rollout.rejected
    if rejected is None:
        return
    serving = {entry.name for entry in after.revisions if entry.role is Role.CANARY}
    newly = before.rollout.rejected is None or before.rollout.rejected.revision != rejected.revision
    assert rejected.revision not in serving, "a rejected revision serves"
    if newly and rejected.reason != "Undone":
        assert all(entry.name != rejected.revision for entry in after.revisions if entry.weight), (
            "a revision taken back still has weight after the transition that took it back"
        )
