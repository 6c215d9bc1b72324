"""From a snapshot of one agent to a decision: the bridge between the cluster's objects and the rollout engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import commands, judging, rollout, routing
from agent_operator.core.facts import Note, Seen
from agent_operator.core.resources.record import is_record
from agent_operator.core.snapshot import Decision, Problem, Snapshot

SETTLE_SECONDS = 2.0


def decide(snapshot: Snapshot, now: datetime) -> Decision:
    """Decide what to do for an agent, at `now`."""
    if snapshot.route is None:
        return _decide_first(snapshot, now)
    route = snapshot.route.spec
    seen = see(snapshot, route)
    transition = rollout.advance(route, seen, now)
    changed = transition.route.serial != route.serial
    return Decision(
        route=transition.route,
        notes=transition.notes,
        problems=(
            *snapshot.problems,
            *_lost_records(snapshot, transition.route),
            *_pod_problems(seen, transition.route),
        ),
        waiting=transition.waiting,
        look_again=_look_again(snapshot, transition.look_again),
        judgement=judging.judge(transition.route, seen, now),
        acknowledged=seen.acknowledged and not changed,
        overdue=transition.overdue,
    )


def see(snapshot: Snapshot, route: AgentRouteSpec) -> Seen:
    """What the rollout engine needs to know of a snapshot."""
    agent = snapshot.agent
    stored = snapshot.route
    return Seen(
        target=_target(snapshot, route),
        replicas=agent.spec.replicas,
        suspended=agent.spec.suspend,
        paused=agent.spec.paused,
        rollout=agent.spec.rollout,
        revisions=snapshot.health,
        acknowledged=stored is not None and snapshot.gateways.acknowledged(stored.uid, route.serial),
        recorded=frozenset(snapshot.live.records),
        command=agent.command,
        observations=snapshot.observations,
        complete=snapshot.complete,
    )


def _target(snapshot: Snapshot, route: AgentRouteSpec) -> str:
    """Revision that the spec asks for; while that is not known, the one it asked for before."""
    if snapshot.target is not None and not snapshot.settling:
        return snapshot.target.name
    if route.rollout.rejected is not None:
        return route.rollout.rejected.revision
    return routing.name_of(route, Role.CANARY) or routing.name_of(route, Role.STABLE) or ""


def _look_again(snapshot: Snapshot, wanted: float | None) -> float | None:
    if not snapshot.settling:
        return wanted
    return SETTLE_SECONDS if wanted is None else min(wanted, SETTLE_SECONDS)


def _decide_first(snapshot: Snapshot, now: datetime) -> Decision:
    """Make the route of an agent that has none: with its recorded stable revision if there is one."""
    if snapshot.target is None:
        return Decision(route=None, problems=snapshot.problems)
    if snapshot.settling:
        return Decision(route=None, waiting="waiting for the instructions to settle", look_again=SETTLE_SECONDS)
    if snapshot.free_port is None:
        message = "every port of the gateway's range is taken in this namespace; widen portRange in the chart"
        problem = Problem(type="PortsExhausted", reason="PortsExhausted", message=message)
        return Decision(route=None, problems=(*snapshot.problems, problem))
    known = snapshot.agent.status.get("stableRevision")
    stable = known if isinstance(known, str) and known in snapshot.live.records else snapshot.target.name
    route = routing.first_route(snapshot.free_port, stable, now, serial=snapshot.last_serial + 1)
    if stable == known:
        route = routing.edit_ledger(route, stable_available=True, history=(stable,), started_at=None, progress_at=None)
    note = Note(warning=False, reason="RevisionCreated", message=f"{stable} is the first revision")
    return Decision(
        route=commands.ignore_first(route, snapshot.agent.command),
        notes=(note,),
        problems=snapshot.problems,
        look_again=0,
    )


def _lost_records(snapshot: Snapshot, route: AgentRouteSpec) -> tuple[Problem, ...]:
    target = None if snapshot.target is None else snapshot.target.name
    records = {**snapshot.remembered, **snapshot.live.records}
    names = [revision.name for revision in route.revisions]
    lost = [n for n in names if (n not in records and n != target) or (n in records and not is_record(records[n]))]
    if not lost:
        return ()
    message = (
        f"the record of {', '.join(lost)} was deleted or replaced; its pods go on as they are, but cannot be made"
        " again: apply a spec that makes a new revision"
    )
    return (Problem(type="RecordLost", reason="RecordDeleted", message=message),)


def _pod_problems(seen: Seen, route: AgentRouteSpec) -> Iterator[Problem]:
    """What pods of serving revisions say of why they do not work."""
    for entry in route.revisions:
        health = seen.health(entry.name)
        if health.failure is not None:
            yield Problem("PodsFailing", health.failure.reason.value, f"{entry.name}: {health.failure.message}")
        elif health.not_ready_reason:
            yield Problem("PodsNotReady", "NotReady", f"{entry.name}: {health.not_ready_reason}")
