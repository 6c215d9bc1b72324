"""The gate of a first revision."""

from __future__ import annotations

from datetime import datetime

from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.engine.progress import await_store, note_progress, time_left
from agent_operator.core.facts import Note, Seen, Transition


def first_revision(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A first revision serves without steps; until it served there is nothing to protect, and no canary."""
    stable = routing.name_of(route, Role.STABLE)
    if stable is None or not _comes_up(route):
        return None
    if not route.rollout.stable_available:
        if stable != seen.target:
            message = f"{seen.target} replaces {stable}, which never served"
            note = Note(warning=False, reason="RevisionReplaced", message=message)
            return Transition(routing.replace_first(route, seen.target, now), notes=(note,), look_again=0)
        health = seen.health(stable)
        if seen.acknowledged and health.exists and health.ready > 0:
            # From here on callers rely on it, however many of its pods are missing: what comes next needs its steps.
            protected = routing.edit_ledger(route, stable_available=True, history=(stable,))
            return Transition(protected, look_again=0)
    elif stable != seen.target:
        return None
    return _complete(route, seen, stable, now)


def _comes_up(route: AgentRouteSpec) -> bool:
    """Whether the first revision was never available as a whole."""
    ledger = route.rollout
    return not ledger.stable_available or (ledger.started_at is not None and routing.find(route, Role.CANARY) is None)


def _complete(route: AgentRouteSpec, seen: Seen, stable: str, now: datetime) -> Transition:
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
