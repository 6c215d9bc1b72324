"""The gateway of one namespace: made with the first agent, kept as recorded, pruned after the last."""

from __future__ import annotations

import asyncio

from agent_operator.cluster import kinds
from agent_operator.cluster.acknowledgements import Acknowledgements
from agent_operator.cluster.observer import Observer
from agent_operator.cluster.peers import gateway_peer
from agent_operator.cluster.store import Store, agent_of
from agent_operator.cluster.writer import NameTakenError, Writer
from agent_operator.core.names import GATEWAY
from agent_operator.core.plan import Apply, Delete
from agent_operator.core.resources.gateway import (
    VERSION_KEY,
    make_gateway_objects,
    make_gateway_record,
    recorded_template,
)
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.settings import Installation
from agent_operator.core.snapshot import Problem

PRUNE_SECONDS = 30.0
LOOK_AT_PROBLEM = 15.0
_OBJECT_KINDS = (
    kinds.DEPLOYMENT,
    kinds.DISRUPTION_BUDGET,
    kinds.ROLE_BINDING,
    kinds.SERVICE_ACCOUNT,
    kinds.CONFIG_MAP,
)


class NamespaceGateway:
    """Reconciles the gateway objects of namespaces."""

    def __init__(
        self,
        store: Store,
        writer: Writer,
        observer: Observer,
        acknowledgements: Acknowledgements,
        installation: Installation,
    ) -> None:
        self._store = store
        self._writer = writer
        self._observer = observer
        self._acknowledgements = acknowledgements
        self._installation = installation
        self._empty_since: dict[str, float] = {}
        self._problems: dict[str, Problem] = {}

    def problems(self, namespace: str) -> tuple[Problem, ...]:
        """What keeps the gateway of a namespace from being made."""
        problem = self._problems.get(namespace)
        return () if problem is None else (problem,)

    async def reconcile(self, namespace: str) -> float | None:
        """Make or prune the gateway; returns seconds after which to come again, or None."""
        self._acknowledgements.follow(
            namespace, filter(None, map(gateway_peer, self._observer.gateway_pods(namespace)))
        )
        if not self._has_agents(namespace):
            return await self._prune(namespace)
        self._empty_since.pop(namespace, None)
        try:
            await self._make(namespace)
        except NameTakenError as taken:
            self._problems[namespace] = taken.problem
            return LOOK_AT_PROBLEM
        self._problems.pop(namespace, None)
        return None

    def _has_agents(self, namespace: str) -> bool:
        agents = self._store.in_namespace(kinds.AGENT_DEPLOYMENT, namespace)
        return any(not agent["metadata"].get("deletionTimestamp") for agent in agents)

    async def _make(self, namespace: str) -> None:
        record = self._store.get(kinds.CONFIG_MAP, namespace, GATEWAY)
        if record is None or record.get("data", {}).get(VERSION_KEY) != self._installation.gateway_template:
            wanted = make_gateway_record(namespace, self._installation)
            await self._writer.perform(Apply(wanted), None)
            record = wanted
        template = recorded_template(record)
        for manifest in make_gateway_objects(namespace, template, self._installation):
            await self._writer.perform(Apply(manifest), None)

    async def _prune(self, namespace: str) -> float | None:
        """Delete the gateway a while after the last agent, so that delete and apply again costs no restart."""
        present = [manifest for kind in _OBJECT_KINDS for manifest in self._gateway_objects(kind, namespace)]
        if not present:
            self._empty_since.pop(namespace, None)
            return None
        now = asyncio.get_running_loop().time()
        left = self._empty_since.setdefault(namespace, now) + PRUNE_SECONDS - now
        if left > 0:
            return left
        for manifest in present:
            await self._writer.perform(Delete(manifest), None)
        return None

    def _gateway_objects(self, kind: kinds.Kind, namespace: str) -> list[Manifest]:
        found = self._store.get(kind, namespace, GATEWAY)
        return [found] if found is not None and agent_of(found) is None else []
