"""What a rollout is about: the revision that should serve, and the steps that lead there."""

from __future__ import annotations

from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.facts import Seen
from agent_operator.core.revision import short_hash


def steps_hash(seen: Seen) -> str:
    """Hash of the steps and the analysis; a change in mid-rollout is taken up at once."""
    canary = seen.rollout.canary
    return short_hash(
        [
            [step.model_dump(mode="json", by_alias=True, exclude_none=True) for step in canary.steps],
            canary.analysis.model_dump(mode="json", by_alias=True),
        ]
    )


def goal_of(route: AgentRouteSpec, seen: Seen) -> str:
    """Revision that should serve: what the spec asks for, unless it was taken back."""
    rejected = route.rollout.rejected
    if rejected is None or rejected.revision != seen.target:
        return seen.target
    return route.rollout.undo_to or routing.name_of(route, Role.STABLE) or seen.target
