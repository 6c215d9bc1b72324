"""Observe: from the store, the gateways and the pods to one frozen snapshot of an agent."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from agent_api.meta import COMMAND_ANNOTATION, COMPONENT_LABEL, REVISION_LABEL
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.rollout import Rollout
from agent_api.v1alpha1.route import ALL_TRAFFIC, AgentRouteSpec, Role
from agent_operator.cluster import kinds
from agent_operator.cluster.acknowledgements import Acknowledgements
from agent_operator.cluster.peers import Peer, Peers, gateway_peer, is_ready, runtime_peer
from agent_operator.cluster.reports import Reports
from agent_operator.cluster.store import Key, Store, version_of
from agent_operator.cluster.targets import Target, Targets
from agent_operator.core import routing
from agent_operator.core.commands import parse_command
from agent_operator.core.equality import equal_revision, renamed
from agent_operator.core.facts import Gateways, Reported, RevisionHealth
from agent_operator.core.names import COMPONENT_GATEWAY, COMPONENT_LIVE
from agent_operator.core.pods import health_of
from agent_operator.core.resources.live import live_name
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.resources.workload import STORE_SECRET
from agent_operator.core.seeing import budgets_of
from agent_operator.core.settings import Installation
from agent_operator.core.snapshot import Agent, LiveObjects, Problem, Snapshot, StoredRoute

MAX_UNREADY_ASKED = 4
"""Pods of a revision that are asked why they are not ready: they mostly have the same reason."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Why a pod is not ready, and whether it waits for a store that it never reached."""

    reason: str = ""
    for_store: bool = False


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
        self._peers = peers
        self._acknowledgements = acknowledgements
        self._targets = targets
        self._reports = reports
        self._installation = installation
        self._routes: dict[Key, tuple[str, AgentRouteSpec]] = {}
        self._records: dict[Key, dict[str, Manifest]] = {}
        self._reserved: dict[Key, int] = {}

    def forget(self, key: Key) -> None:
        """Drop what is remembered of an agent that is gone."""
        self._targets.forget(key)
        self._reports.forget(key)
        self._routes.pop(key, None)
        self._records.pop(key, None)
        self._reserved.pop(key, None)

    async def observe(self, key: Key) -> Snapshot | None:
        """Snapshot of an agent; None if there is no such agent, or it is being deleted."""
        manifest = self._store.get(kinds.AGENT_DEPLOYMENT, *key)
        if manifest is None or manifest["metadata"].get("deletionTimestamp"):
            return None
        agent, problems = self._agent(manifest)
        route = self._route(agent)
        live = self._live(agent)
        target = _as_known(await self._target(agent, problems), route, live)
        health = await self._health(agent, route)
        observations, complete = await self._observations(agent, route)
        return Snapshot(
            agent=agent,
            route=route,
            target=target.record,
            live=live,
            remembered=self._remember(agent, live),
            health=health,
            gateways=self._gateways(agent),
            free_port=self._free_port(agent) if route is None else None,
            last_serial=serial_of(self._store.get(kinds.AGENT_ROUTE, *key)),
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
        self._routes[key] = (uid, spec)
        self._reserved.pop(key, None)

    def _route(self, agent: Agent) -> StoredRoute | None:
        key = (agent.namespace, agent.name)
        manifest = self._store.get(kinds.AGENT_ROUTE, *key)
        uid, known = self._routes.get(key, ("", None))
        if manifest is None or not _belongs_to(manifest, agent):
            return StoredRoute("", known, intact=False) if known is not None and uid == agent.uid else None
        route_uid = manifest["metadata"]["uid"]
        stored = read_route(manifest)
        if known is None or uid != agent.uid or stored == known:
            if stored is None:
                return None
            self.wrote_route(key, agent.uid, stored)
            return StoredRoute(route_uid, stored)
        restored = known.model_copy(update={"serial": max(known.serial, serial_of(manifest)) + 1})
        return StoredRoute(route_uid, restored, intact=False)

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
        peers = {entry.name: self._ready_peer(agent.namespace, entry.name) for entry in routed}
        known = {name: peer for name, peer in peers.items() if peer is not None}
        return self._reports.follow((agent.namespace, agent.name), known, budgets_of(agent, live, readable=readable))

    def _ready_peer(self, namespace: str, revision: str) -> Peer | None:
        """Always the same pod while it is ready, as pods may read their live document at different times."""
        ready = [pod for pod in self._pods(namespace, REVISION_LABEL, revision) if is_ready(pod)]
        return runtime_peer(min(ready, key=lambda pod: str(pod["metadata"]["name"]))) if ready else None

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
        return {
            name: manifest
            for name, manifest in labelled.items()
            if any(r.get("uid") == agent.uid for r in manifest["metadata"].get("ownerReferences", ()))
        }

    def _pods(self, namespace: str, label: str, value: str) -> list[Manifest]:
        """Pods with a label that ReplicaSets of our own Deployments own: a label alone proves nothing."""
        return [pod for pod in self._store.labelled(kinds.POD, namespace, label, value) if self._is_ours(pod)]

    def _is_ours(self, pod: Manifest) -> bool:
        owner = _controller(pod)
        replica_set = None if owner is None else self._by_uid(kinds.REPLICA_SET, pod, owner)
        if replica_set is None:
            return False
        owner = _controller(replica_set)
        return owner is not None and self._by_uid(kinds.DEPLOYMENT, replica_set, owner) is not None

    def _by_uid(self, kind: kinds.Kind, child: Manifest, owner: Manifest) -> Manifest | None:
        found = self._store.get(kind, child["metadata"]["namespace"], owner["name"])
        return found if found is not None and found["metadata"]["uid"] == owner["uid"] else None

    async def _health(self, agent: Agent, route: StoredRoute | None) -> dict[str, RevisionHealth]:
        deployments = self._owned(kinds.DEPLOYMENT, agent)
        awaited = set() if route is None else {entry.name for entry in route.spec.revisions}
        health = {}
        for revision, deployment in deployments.items():
            pods = self._pods(agent.namespace, REVISION_LABEL, revision)
            waiting = await self._waiting(pods) if revision in awaited else _Waiting()
            health[revision] = health_of(
                deployment, pods, waiting.reason, now=datetime.now(UTC), waits_for_store=waiting.for_store
            )
        return health

    async def _waiting(self, pods: list[Manifest]) -> _Waiting:
        """What one of a few pods that are not ready says of why; they are asked side by side."""
        unready = [pod for pod in sorted(pods, key=version_of) if not is_ready(pod)]
        living = [pod for pod in unready if not pod["metadata"].get("deletionTimestamp")]
        asked = [(pod, peer) for pod in living if (peer := runtime_peer(pod)) is not None][:MAX_UNREADY_ASKED]
        told = await self._peers.unreadiness([peer for _, peer in asked])
        for (pod, peer), said in zip(asked, told, strict=True):
            if said.reason:
                text = f"pod {peer.name} is not ready: {said.reason}{_secrets_wanted(pod)}"
                return _Waiting(text, for_store=said.waits_for_store)
        return _Waiting()

    def gateway_pods(self, namespace: str) -> list[Manifest]:
        """Gateway pods of a namespace that our own ReplicaSets own."""
        return self._pods(namespace, COMPONENT_LABEL, COMPONENT_GATEWAY)

    def _gateways(self, agent: Agent) -> Gateways:
        ready = [pod for pod in self.gateway_pods(agent.namespace) if is_ready(pod)]
        names = tuple(sorted(pod["metadata"]["name"] for pod in ready))
        applied = self._acknowledgements.applied(agent.namespace, agent.name)
        asked = self._acknowledgements.asked(agent.namespace, names)
        return Gateways(names, applied, asked, self._acknowledgements.fields(agent.namespace))

    async def _observations(self, agent: Agent, route: StoredRoute | None) -> tuple[tuple[Any, ...], bool]:
        """Observations of every pod that counts for the analysis; complete if every ready one answered."""
        if route is None or routing.canary_weight(route.spec) == 0:
            return (), False
        sides = (routing.name_of(route.spec, Role.STABLE), routing.name_of(route.spec, Role.CANARY))
        runtime = [pod for side in sides if side for pod in self._pods(agent.namespace, REVISION_LABEL, side)]
        gateways = self.gateway_pods(agent.namespace)
        peers = [*filter(None, map(runtime_peer, runtime)), *filter(None, map(gateway_peer, gateways))]
        ledger = route.spec.rollout.analysis
        answers = await self._peers.observations(peers, agent.name, 0 if ledger is None else ledger.read_until)
        needed = {pod["metadata"]["name"] for pod in (*runtime, *gateways) if is_ready(pod)}
        return tuple(answers.values()), needed <= answers.keys()

    def _free_port(self, agent: Agent) -> int | None:
        """A port that no route has and no other agent was promised, until its route is stored."""
        key = (agent.namespace, agent.name)
        others = self._store.in_namespace(kinds.AGENT_ROUTE, agent.namespace)
        taken = {route["spec"]["port"] for route in others if route["metadata"]["name"] != agent.name}
        taken |= {port for other, port in self._reserved.items() if other[0] == agent.namespace and other != key}
        ports = range(self._installation.first_port, self._installation.last_port + 1)
        port = next((port for port in ports if port not in taken), None)
        if port is not None:
            self._reserved[key] = port
        return port

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


def _secrets_wanted(pod: Manifest) -> str:
    """Which Secrets a pod wants, so that a person sees what to create; that of the trial store is the operator's."""
    mounted = [volume["secret"] for volume in pod["spec"].get("volumes", ()) if "secret" in volume]
    sources = [source for source in mounted if source["secretName"] != STORE_SECRET]
    wanted = sorted(
        {f"{source['secretName']} (key {source['items'][0]['key']})" for source in sources if source.get("items")}
    )
    return f"; the spec names Secret {', '.join(wanted)} in this namespace" if wanted else ""


def _as_known(target: Target, route: StoredRoute | None, live: LiveObjects) -> Target:
    """The target, under the name of a revision that is known and does the same: equal values are equal."""
    if target.record is None or route is None or target.record.name in live.records:
        return target
    rejected = route.spec.rollout.rejected
    routed = [entry.name for entry in sorted(route.spec.revisions, key=lambda entry: entry.role is not Role.CANARY)]
    names = [*routed, *([] if rejected is None else [rejected.revision]), *route.spec.rollout.history]
    known = equal_revision(target.record, live.records, names)
    return target if known is None else replace(target, record=renamed(target.record, known))


def _belongs_to(manifest: Manifest, agent: Agent) -> bool:
    """Whether an object is this very agent's: one of a deleted agent of its name is still there for a while."""
    owners = manifest["metadata"].get("ownerReferences", ())
    return any(owner.get("uid") == agent.uid for owner in owners)


def read_route(manifest: Manifest) -> AgentRouteSpec | None:
    """The route of an AgentRoute; None of one that was edited into something that routes nothing."""
    try:
        route = AgentRouteSpec.model_validate(manifest["spec"], extra="ignore")
    except ValidationError:
        return None
    roles = [entry.role for entry in route.revisions]
    sound = roles.count(Role.STABLE) == 1 and roles.count(Role.CANARY) <= 1
    return route if sound and sum(entry.weight for entry in route.revisions) == ALL_TRAFFIC else None


def serial_of(manifest: Manifest | None) -> int:
    """Serial of a stored AgentRoute, whatever else is wrong with it; 0 if there is none."""
    serial = None if manifest is None else manifest.get("spec", {}).get("serial")
    return serial if isinstance(serial, int) else 0


def _controller(manifest: Manifest) -> Manifest | None:
    owners = manifest["metadata"].get("ownerReferences", ())
    return next((owner for owner in owners if owner.get("controller")), None)


def _invalid(error: ValidationError) -> Problem:
    first = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    message = f"spec.{field}: {first['msg']}; the old revision goes on serving"
    return Problem("InvalidSpec", "InvalidSpec", message)
