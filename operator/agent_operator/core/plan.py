"""From a decision to actions, in an order in which a crash between any two of them does no harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.resources.agent import make_agent_service
from agent_operator.core.resources.live import make_live_config_map
from agent_operator.core.resources.metadata import Manifest, make_metadata, make_owner
from agent_operator.core.resources.record import is_record, make_record, read_first_overlay, read_record, remake_record
from agent_operator.core.resources.replicas import replicas_we_own
from agent_operator.core.resources.workload import (
    OVERLAY_ANNOTATION,
    make_deployment,
    make_disruption_budget,
    make_overlay,
    make_revision_service,
    overlay_text,
    read_overlay,
)
from agent_operator.core.snapshot import Decision, Problem, Snapshot


@dataclass(frozen=True, slots=True)
class Apply:
    """Bring an object to a manifest; nothing is written if it is there already."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Scale:
    """Set the replicas of a Deployment."""

    namespace: str
    name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object of ours."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class WriteRoute:
    """Write the AgentRoute, if it is still the one that the decision was made from."""

    namespace: str
    name: str
    spec: AgentRouteSpec


Action = Apply | Scale | Delete | WriteRoute


def plan(snapshot: Snapshot, decision: Decision) -> tuple[Action, ...]:
    """Actions that make a decision true: records before routes, routes before pods, removal last."""
    if decision.route is None:
        return ()
    return tuple(_actions(snapshot, decision.route, decision))


def _actions(snapshot: Snapshot, route: AgentRouteSpec, decision: Decision) -> Iterator[Action]:
    agent = snapshot.agent
    owner = make_owner(agent.name, agent.uid)
    routed = {revision.name for revision in route.revisions}
    yield from _record(snapshot, routed, owner)
    if snapshot.route is None or not snapshot.route.intact or route != snapshot.route.spec:
        yield WriteRoute(agent.namespace, agent.name, route)
    if decision.live is not None:
        yield Apply(make_live_config_map(agent.name, agent.namespace, owner, decision.live))
    for revision in route.revisions:
        yield from _workload(snapshot, revision.name, owner)
    if decision.acknowledged or agent.name in snapshot.live.services:
        yield Apply(make_agent_service(agent.name, agent.namespace, owner, route.port))
    if decision.acknowledged:
        yield from _retire(snapshot, route, routed)


def _record(snapshot: Snapshot, routed: set[str], owner: Manifest) -> Iterator[Action]:
    """A record once made is never made anew from the spec: only the target's, before it is first routed.

    One that was deleted by hand comes back as it was last seen.
    """
    target, agent = snapshot.target, snapshot.agent
    for name in sorted(routed - snapshot.live.records.keys()):
        if name in snapshot.remembered:
            yield Apply(remake_record(snapshot.remembered[name], agent.name, agent.namespace, owner))
        elif target is not None and target.name == name:
            yield Apply(make_record(target, make_overlay(agent.spec), agent.name, agent.namespace, owner))


def _workload(snapshot: Snapshot, revision: str, owner: Manifest) -> Iterator[Action]:
    agent, live = snapshot.agent, snapshot.live.deployments.get(revision)
    config_map = snapshot.live.records.get(revision) or snapshot.remembered.get(revision)
    if config_map is not None and not is_record(config_map):
        return
    if config_map is not None:
        record = read_record(config_map)
    elif snapshot.target is not None and snapshot.target.name == revision:
        record = snapshot.target
    else:
        return
    metadata = make_metadata(revision, agent.namespace, {}, owner)
    replicas = agent.spec.replicas if live is None else replicas_we_own(live)
    overlay = _overlay(snapshot, revision)
    yield Apply(make_deployment(metadata, revision, record.template, overlay, replicas))
    if live is not None and live["spec"].get("replicas") != agent.spec.replicas:
        yield Scale(agent.namespace, revision, agent.spec.replicas)
    yield Apply(make_revision_service(agent.name, revision, agent.namespace, owner))
    yield Apply(make_disruption_budget(agent.name, revision, agent.namespace, owner))


def overlay_deferred(snapshot: Snapshot, route: AgentRouteSpec) -> bool:
    """Whether the spec's Secrets or placement wait for a rollout to end."""
    target = snapshot.target
    live = None if target is None else snapshot.live.deployments.get(target.name)
    if live is None or not _rolling(route):
        return False
    annotation = live["metadata"].get("annotations", {}).get(OVERLAY_ANNOTATION)
    return annotation is not None and annotation != overlay_text(make_overlay(snapshot.agent.spec))


def _rolling(route: AgentRouteSpec) -> bool:
    return routing.find(route, Role.CANARY) is not None


def _overlay(snapshot: Snapshot, revision: str) -> Manifest:
    """The spec's overlay belongs to the revision it asks for; others keep what they have."""
    live = snapshot.live.deployments.get(revision)
    stored = None if live is None else live["metadata"].get("annotations", {}).get(OVERLAY_ANNOTATION)
    is_target = snapshot.target is not None and snapshot.target.name == revision
    rolling = snapshot.route is not None and _rolling(snapshot.route.spec)
    if is_target and (stored is None or not rolling):
        return make_overlay(snapshot.agent.spec)
    known = None if stored is None else read_overlay(stored)
    if known is not None:
        return known
    config_map = snapshot.live.records.get(revision)
    return make_overlay(snapshot.agent.spec) if config_map is None else read_first_overlay(config_map)


def _retire(snapshot: Snapshot, route: AgentRouteSpec, routed: set[str]) -> Iterator[Action]:
    """Scale to zero what no gateway sends anything to, and forget what is beyond the history."""
    ledger, agent = route.rollout, snapshot.agent
    kept = routed | set(ledger.history[: agent.spec.rollout.revision_history_limit + 1])
    kept |= {name for name in (_rejected(route), ledger.undo_to, _target(snapshot)) if name}
    for revision in sorted(snapshot.live.revisions() - routed):
        live = snapshot.live.deployments.get(revision)
        if live is not None and live["spec"].get("replicas") != 0:
            yield Scale(agent.namespace, revision, 0)
        elif revision not in kept and not (live or {}).get("status", {}).get("replicas"):
            yield from _forget(snapshot, revision)


def _rejected(route: AgentRouteSpec) -> str | None:
    return None if route.rollout.rejected is None else route.rollout.rejected.revision


def _target(snapshot: Snapshot) -> str | None:
    return None if snapshot.target is None else snapshot.target.name


def _forget(snapshot: Snapshot, revision: str) -> Iterator[Action]:
    live = snapshot.live
    for objects in (live.budgets, live.services, live.deployments, live.records):
        if revision in objects:
            yield Delete(objects[revision])


def placement_problem(snapshot: Snapshot, decision: Decision) -> tuple[Problem, ...]:
    """Condition that says a change of Secrets or placement waits for the rollout."""
    if decision.route is None or not overlay_deferred(snapshot, decision.route):
        return ()
    message = "names of Secrets and runtime.pod are taken over when the rollout has ended"
    return (Problem(type="PlacementDeferred", reason="RolloutInProgress", message=message),)
