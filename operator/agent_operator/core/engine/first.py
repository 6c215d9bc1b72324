"""The gate of a first revision."""

from __future__ import annotations

from datetime import datetime

from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.engine.progress import await_store, note_progress, time_left
from agent_operator.core.facts import Note, Seen, Transition


def first_revision(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Until the first revision was available once there is nothing to protect, and no canary."""
    stable = routing.name_of(route, Role.STABLE)
    if route.rollout.stable_available or stable is None:
        return None
    if stable != seen.target:
        note = Note(
            warning=False, reason="RevisionReplaced", message=f"{seen.target} replaces {stable}, never available"
        )
        return Transition(routing.replace_first(route, seen.target, now), notes=(note,), look_again=0)
    health = seen.health(stable)
    if health.available(seen.replicas):
        note = Note(warning=False, reason="RolloutCompleted", message=f"{stable} is available and serves")
        changed = routing.edit_ledger(
            route, stable_available=True, history=(stable,), started_at=None, progress_at=None, progress_ready=0
        )
        return Transition(changed, notes=(note,), look_again=0)
    if health.waits_for_store:
        return await_store(route, stable, health)
    noted = note_progress(route, seen, stable, now)
    return _await_first(route, seen, stable, now) if noted is None else noted


def _await_first(route: AgentRouteSpec, seen: Seen, stable: str, now: datetime) -> Transition:
    """A first revision is never taken back: past its deadline it is said to be stuck."""
    left = time_left(route, seen, now)
    if left > 0:
        return Transition(route, look_again=left, waiting=f"{stable}: waiting for its first pods")
    reason = seen.health(stable).not_ready_reason or f"{seen.health(stable).ready} of {seen.replicas} pods are ready"
    waiting = f"{stable}: not available after {seen.rollout.progress_deadline}: {reason}"
    return Transition(route, waiting=waiting, overdue=True)
