"""Waiting for pods: what progress is, and the deadline for it."""

from __future__ import annotations

from datetime import datetime

from agent_api.quantities import seconds
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.engine.looks import LOOK_AT_LEASE
from agent_operator.core.engine.safety import take_back
from agent_operator.core.facts import RevisionHealth, Seen, Transition


def await_store(route: AgentRouteSpec, revision: str, health: RevisionHealth) -> Transition:
    """The deadline does not run while pods wait for their store: that is no fault of the revision."""
    if route.rollout.progress_at is not None:
        return Transition(routing.edit_ledger(route, progress_at=None, progress_ready=0), look_again=0)
    return Transition(route, look_again=LOOK_AT_LEASE, waiting=f"{revision}: {health.not_ready_reason}")


def time_left(route: AgentRouteSpec, seen: Seen, now: datetime) -> float:
    """Seconds until the deadline of whatever pods are awaited."""
    waited = (now - (route.rollout.progress_at or now)).total_seconds()
    return seconds(seen.rollout.progress_deadline) - waited


def note_progress(route: AgentRouteSpec, seen: Seen, revision: str, now: datetime) -> Transition | None:
    """Note progress towards availability, for the deadline; None if there is none to note."""
    ledger = route.rollout
    ready = seen.health(revision).ready
    if ledger.progress_at is None or ready > ledger.progress_ready:
        return Transition(routing.edit_ledger(route, progress_at=now, progress_ready=ready), look_again=0)
    return None


def availability(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """The deadline runs while the canary is awaited, and begins anew when pods are lost later.

    Pods that a scale-up asks for in mid-rollout hold it up, and are no reason to take a canary back that was available.
    """
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        return None
    health = seen.health(canary)
    if health.available(seen.replicas):
        most = max(route.rollout.available_at, seen.replicas)
        if route.rollout.progress_at is None and route.rollout.available_at == most:
            return None
        arrived = routing.edit_ledger(route, progress_at=None, progress_ready=0, available_at=most)
        return Transition(arrived, look_again=0)
    if health.waits_for_store:
        return await_store(route, canary, health)
    if health.ready >= route.rollout.available_at > 0:
        return _scaled_up(route, seen, canary)
    noted = note_progress(route, seen, canary, now)
    if noted is not None:
        return noted
    left = time_left(route, seen, now)
    reason = health.not_ready_reason or f"{health.ready} of {seen.replicas} pods are ready"
    if left <= 0:
        message = f"not available after {seen.rollout.progress_deadline}: {reason}"
        return take_back(route, "ProgressDeadlineExceeded", message, now)
    return Transition(route, look_again=min(left, LOOK_AT_LEASE), waiting=f"{canary}: {reason}")


def _scaled_up(route: AgentRouteSpec, seen: Seen, canary: str) -> Transition:
    """All pods that there were before are ready: the further ones are waited for without a deadline."""
    if route.rollout.progress_at is not None:
        return Transition(routing.edit_ledger(route, progress_at=None, progress_ready=0), look_again=0)
    health = seen.health(canary)
    why = f" ({health.not_ready_reason})" if health.not_ready_reason else ""
    waiting = f"{canary}: {health.ready} of {seen.replicas} pods are ready, since more were asked for{why}"
    return Transition(route, look_again=LOOK_AT_LEASE, waiting=waiting)
