"""What the agents of one namespace share: made with the first of them, kept as recorded, pruned after the last."""

from __future__ import annotations

import asyncio

from agent_operator.cluster import kinds
from agent_operator.cluster.acknowledgements import Acknowledgements
from agent_operator.cluster.observer import Observer
from agent_operator.cluster.peers import gateway_peer
from agent_operator.cluster.store import Store, agent_of
from agent_operator.cluster.templates import forget_old_record, kept_template
from agent_operator.cluster.trial_store import TrialStore
from agent_operator.cluster.writer import NameTakenError, Writer
from agent_operator.core.names import FRONT_DOOR, GATEWAY
from agent_operator.core.plan import Apply, Delete, Scale
from agent_operator.core.resources.gateway import make_gateway_objects, make_gateway_template
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.resources.replicas import replicas_we_own, scaled_by_others
from agent_operator.core.settings import Installation
from agent_operator.core.snapshot import Problem

PRUNE_SECONDS = 30.0
LOOK_AT_PROBLEM = 15.0
_OBJECTS = (
    (kinds.SERVICE, FRONT_DOOR),
    (kinds.DEPLOYMENT, GATEWAY),
    (kinds.DISRUPTION_BUDGET, GATEWAY),
    (kinds.ROLE_BINDING, GATEWAY),
    (kinds.SERVICE_ACCOUNT, GATEWAY),
    (kinds.CONFIG_MAP, GATEWAY),
)


class NamespaceGateway:
    """Reconciles the gateway of namespaces, and their trial store."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        observer: Observer,
        acknowledgements: Acknowledgements,
        trial_store: TrialStore,
        installation: Installation,
    ) -> None:
        self._store = store
        self._writer = writer
        self._observer = observer
        self._acknowledgements = acknowledgements
        self._trial_store = trial_store
        self._installation = installation
        self._empty_since: dict[str, float] = {}
        self._problems: dict[str, tuple[Problem, ...]] = {}

    def problems(self, namespace: str) -> tuple[Problem, ...]:
        """What keeps the objects of a namespace from being made."""
        return self._problems.get(namespace, ())

    def note(self, namespace: str, problem: Problem) -> None:
        """Keep what went wrong with a namespace for the conditions of its agents, until its next turn."""
        self._problems[namespace] = (problem,)

    async def reconcile(self, namespace: str) -> float | None:
        """Make or prune what agents share; returns seconds after which to come again, or None."""
        self._acknowledgements.follow(
            namespace, filter(None, map(gateway_peer, self._observer.gateway_pods(namespace)))
        )
        if not self._has_agents(namespace):
            return await self._prune(namespace)
        self._empty_since.pop(namespace, None)
        problems: list[Problem] = []
        looks: list[float] = []
        for make in (self._make, self._make_store):
            try:
                again = await make(namespace)
            except NameTakenError as taken:
                problems.append(taken.problem)
                again = LOOK_AT_PROBLEM
            looks += [] if again is None else [again]
        self._problems[namespace] = tuple(problems)
        return min(looks, default=None)

    async def _make_store(self, namespace: str) -> float | None:
        return await self._trial_store.make(namespace) if self._trial_store.wanted(namespace) else None

    def _has_agents(self, namespace: str) -> bool:
        agents = self._store.in_namespace(kinds.AGENT_DEPLOYMENT, namespace)
        return any(not agent["metadata"].get("deletionTimestamp") for agent in agents)

    async def _make(self, namespace: str) -> float | None:
        live, asked = self._store.get(kinds.DEPLOYMENT, namespace, GATEWAY), self._installation.gateway_replicas
        kept = kept_template(self._store, namespace, GATEWAY, self._installation.gateway_template)
        template = kept or make_gateway_template(namespace, self._installation)
        replicas = asked if live is None else replicas_we_own(live)
        for manifest in make_gateway_objects(namespace, template, self._installation, replicas):
            await self._writer.perform(Apply(manifest), None)
        await forget_old_record(self._store, self._writer, namespace, GATEWAY)
        if live is not None and not scaled_by_others(live) and live["spec"].get("replicas") != asked:
            await self._writer.perform(Scale(namespace, GATEWAY, asked), None)
        return None

    async def _prune(self, namespace: str) -> float | None:
        """Delete all of it a while after the last agent, so that delete and apply again costs no restart."""
        present = [manifest for kind, name in _OBJECTS for manifest in self._shared(kind, namespace, name)]
        present += self._trial_store.objects(namespace)
        self._problems.pop(namespace, None)
        if not present:
            self._empty_since.pop(namespace, None)
            return None
        now = asyncio.get_running_loop().time()
        left = self._empty_since.setdefault(namespace, now) + PRUNE_SECONDS - now
        if left > 0:
            return left
        for manifest in present:
            await self._writer.perform(Delete(manifest), None)
        self._trial_store.forget(namespace)
        return None

    def _shared(self, kind: kinds.Kind, namespace: str, name: str) -> list[Manifest]:
        found = self._store.get(kind, namespace, name)
        return [found] if found is not None and agent_of(found) is None else []
