"""Observe: from the store, the gateways and the pods to one frozen snapshot of an agent."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from agent_api.meta import COMMAND_ANNOTATION, COMPONENT_LABEL
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.rollout import Rollout
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.cluster import kinds
from agent_operator.cluster.acknowledgements import Acknowledgements
from agent_operator.cluster.equality import equal_revision, renamed
from agent_operator.cluster.ownership import is_owned_by
from agent_operator.cluster.peers import Peers, is_ready
from agent_operator.cluster.pods import Pods
from agent_operator.cluster.ports import Ports
from agent_operator.cluster.reports import Reports
from agent_operator.cluster.route_memory import RouteMemory, serial_of
from agent_operator.cluster.store import Key, Store
from agent_operator.cluster.targets import Target, Targets
from agent_operator.core.commands import parse_command
from agent_operator.core.facts import Gateways, Reported
from agent_operator.core.names import COMPONENT_LIVE
from agent_operator.core.resources.live import live_name
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.seeing import budgets_of
from agent_operator.core.settings import Installation
from agent_operator.core.snapshot import Agent, LiveObjects, Problem, Snapshot, StoredRoute


class Observer:
    """Reads everything that one reconcile of an agent rests on."""

    def __init__(
        self,
        store: Store,
        peers: Peers,
        acknowledgements: Acknowledgements,
        targets: Targets,
        reports: Reports,
        installation: Installation,
    ) -> None:
        self._store = store
        self._acknowledgements = acknowledgements
        self._targets = targets
        self._reports = reports
        self._pods = Pods(store, peers)
        self._ports = Ports(store, installation.first_port, installation.last_port)
        self._routes = RouteMemory()
        self._records: dict[Key, dict[str, Manifest]] = {}

    def forget(self, key: Key) -> None:
        """Drop what is remembered of an agent that is gone."""
        self._targets.forget(key)
        self._reports.forget(key)
        self._routes.forget(key)
        self._ports.forget(key)
        self._records.pop(key, None)

    async def observe(self, key: Key) -> Snapshot | None:
        """Snapshot of an agent; None if there is no such agent, or it is being deleted."""
        manifest = self._store.get(kinds.AGENT_DEPLOYMENT, *key)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return None
        agent, problems = self._agent(manifest)
        stored = self._store.get(kinds.AGENT_ROUTE, *key)
        route = self._routes.read(agent, stored)
        live = self._live(agent)
        target = _as_known(await self._target(agent, problems), route, live)
        health = await self._pods.health(agent, live.deployments, route)
        observations, complete = await self._pods.observations(agent, route)
        return Snapshot(
            agent=agent,
            route=route,
            target=target.record,
            live=live,
            remembered=self._remember(agent, live),
            health=health,
            gateways=self._gateways(agent),
            free_port=self._ports.free(key) if route is None else None,
            last_serial=serial_of(stored),
            observations=observations,
            complete=complete,
            problems=tuple(problems),
            changing=target.changing,
            readable=target.readable,
            reported=self._reported(agent, route, live, readable=target.readable),
            nonce=secrets.token_hex(8),
        )

    def _agent(self, manifest: Manifest) -> tuple[Agent, list[Problem]]:
        metadata = manifest["metadata"]
        problems: list[Problem] = []
        try:
            spec = AgentDeploymentSpec.model_validate(manifest.get("spec", {}), extra="ignore")
        except ValidationError as error:
            problems.append(_invalid(error))
            spec = self._last_valid(manifest)
        agent = Agent(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            spec=spec,
            command=parse_command(metadata.get("annotations", {}).get(COMMAND_ANNOTATION)),
            status=manifest.get("status") or {},
        )
        return agent, problems

    def agent_as_it_stands(self, key: Key) -> Agent | None:
        """An agent with its status, and nothing of a spec that may be what cannot be read; None if it is gone."""
        manifest = self._store.get(kinds.AGENT_DEPLOYMENT, *key)
        if manifest is None:
            return None
        metadata, status = manifest["metadata"], manifest.get("status")
        return Agent(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            spec=self._last_valid({}),
            command=None,
            status=status if isinstance(status, dict) else {},
        )

    def moved_on(self, agent: Agent) -> bool:
        """Whether the user changed an agent since it was observed.

        The answer to our own status write may hold that change, and its event then counts as known.
        """
        manifest = self._store.get(kinds.AGENT_DEPLOYMENT, agent.namespace, agent.name)
        if manifest is None:
            return False
        metadata = manifest["metadata"]
        command = parse_command(metadata.get("annotations", {}).get(COMMAND_ANNOTATION))
        return bool(metadata["generation"] != agent.generation) or command != agent.command

    def wrote_route(self, key: Key, uid: str, spec: AgentRouteSpec) -> None:
        """Remember the route as this operator wrote it: whatever differs later was edited by hand."""
        self._routes.wrote(key, uid, spec)
        self._ports.forget(key)

    async def _target(self, agent: Agent, problems: list[Problem]) -> Target:
        """The revision that the spec asks for; what keeps it from being known is added to the problems."""
        if problems:
            return Target(None, readable=False)
        target = await self._targets.read(agent)
        if target.problem is not None:
            problems.append(target.problem)
        return target

    def _reported(
        self, agent: Agent, route: StoredRoute | None, live: LiveObjects, *, readable: bool
    ) -> Reported | None:
        """What one ready pod of each routed revision says; they are asked in the background."""
        routed = () if route is None else route.spec.revisions
        peers = {entry.name: self._pods.ready_peer(agent.namespace, entry.name) for entry in routed}
        known = {name: peer for name, peer in peers.items() if peer is not None}
        return self._reports.follow((agent.namespace, agent.name), known, budgets_of(agent, live, readable=readable))

    def _live(self, agent: Agent) -> LiveObjects:
        config_maps = self._owned(kinds.CONFIG_MAP, agent)
        return LiveObjects(
            records={name: item for name, item in config_maps.items() if not _is_live(item)},
            deployments=self._owned(kinds.DEPLOYMENT, agent),
            services=self._owned(kinds.SERVICE, agent),
            budgets=self._owned(kinds.DISRUPTION_BUDGET, agent),
            config=config_maps.get(live_name(agent.name)),
        )

    def _remember(self, agent: Agent, live: LiveObjects) -> dict[str, Manifest]:
        """Records of revisions that are not forgotten yet, as last seen: one deleted by hand can be made again."""
        seen = self._records.setdefault((agent.namespace, agent.name), {})
        for name in seen.keys() - live.deployments.keys() - live.records.keys():
            del seen[name]
        seen.update(live.records)
        return dict(seen)

    def _owned(self, kind: kinds.Kind, agent: Agent) -> dict[str, Manifest]:
        """Objects labelled with the agent's name and owned by its very uid."""
        labelled = self._store.of_agent(kind, agent.namespace, agent.name)
        return {name: manifest for name, manifest in labelled.items() if is_owned_by(manifest, agent.uid)}

    def gateway_pods(self, namespace: str) -> list[Manifest]:
        """Gateway pods of a namespace that our own ReplicaSets own."""
        return self._pods.of_gateways(namespace)

    def _gateways(self, agent: Agent) -> Gateways:
        ready = [pod for pod in self._pods.of_gateways(agent.namespace) if is_ready(pod)]
        names = tuple(sorted(pod["metadata"]["name"] for pod in ready))
        applied = self._acknowledgements.applied(agent.namespace, agent.name)
        asked = self._acknowledgements.asked(agent.namespace, names)
        return Gateways(names, applied, asked, self._acknowledgements.fields(agent.namespace))

    def _last_valid(self, manifest: Manifest) -> AgentDeploymentSpec:
        """A stand-in for a spec that cannot be read: serve on as it is, with what it says of pods, suspend and rollout.

        A rollout stands still meanwhile; a failing canary is still taken back.
        """
        spec = manifest.get("spec", {})
        replicas = spec.get("replicas", 1)
        known = replicas if isinstance(replicas, int) and replicas >= 0 else 1
        stand_in = {
            "replicas": known,
            "suspend": spec.get("suspend") is True,
            "paused": True,
            "rollout": _readable_rollout(spec),
            "agent": {"instructions": "-"},
            "model": {"name": "-", "baseURL": "http://invalid.example"},
        }
        return AgentDeploymentSpec.model_validate(stand_in)


def _readable_rollout(spec: dict[str, Any]) -> Rollout:
    try:
        return Rollout.model_validate(spec.get("rollout", {}), extra="ignore")
    except ValidationError:
        return Rollout()


def _is_live(config_map: Manifest) -> bool:
    return bool(config_map["metadata"].get("labels", {}).get(COMPONENT_LABEL) == COMPONENT_LIVE)


def _as_known(target: Target, route: StoredRoute | None, live: LiveObjects) -> Target:
    """The target, under the name of a revision that is known and does the same: equal values are equal."""
    if target.record is None or route is None or target.record.name in live.records:
        return target
    rejected = route.spec.rollout.rejected
    routed = [entry.name for entry in sorted(route.spec.revisions, key=lambda entry: entry.role is not Role.CANARY)]
    names = [*routed, *([] if rejected is None else [rejected.revision]), *route.spec.rollout.history]
    known = equal_revision(target.record, live.records, names)
    return target if known is None else replace(target, record=renamed(target.record, known))


def _invalid(error: ValidationError) -> Problem:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = f"spec.{field}: {first['msg']}; the old revision goes on serving"
    return Problem("InvalidSpec", "InvalidSpec", message)
