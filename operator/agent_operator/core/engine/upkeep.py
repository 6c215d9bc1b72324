"""The gates that carry what applies live, and show gateways that somebody watches."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent_api.v1alpha1.route import ALL_TRAFFIC, AgentRouteSpec
from agent_operator.core import routing
from agent_operator.core.facts import Note, Seen, Transition

LEASE_INTERVAL = timedelta(seconds=20)


def knobs(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    """What applies live is carried to the gateways, whatever the rollout does."""
    changed = routing.set_knobs(route, seen.knobs)
    if changed is route:
        return None
    notes: tuple[Note, ...] = ()
    if changed.suspended is not route.suspended:
        notes = (
            Note(warning=True, reason="Suspended", message="new runs are refused")
            if changed.suspended
            else Note(warning=False, reason="Resumed", message="new runs are served again"),
        )
    return Transition(changed, notes=notes, look_again=0)


def lease(route: AgentRouteSpec, _seen: Seen, now: datetime) -> Transition | None:
    """While the weight is between 0 and 100, gateways want to see that somebody watches the canary."""
    if not 0 < routing.canary_weight(route) < ALL_TRAFFIC:
        return None
    bumped_at = route.lease.bumped_at
    if bumped_at is not None and now - bumped_at < LEASE_INTERVAL:
        return None
    return Transition(routing.bump_lease(route, now), look_again=0)
