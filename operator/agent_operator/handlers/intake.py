"""From events of the API server to the store and to keys that want work."""

from __future__ import annotations

from collections.abc import Callable

from agent_api.meta import AGENT_LABEL, COMPONENT_LABEL
from agent_operator.cluster import kinds
from agent_operator.cluster.kinds import Kind
from agent_operator.cluster.peers import is_ready
from agent_operator.cluster.store import Store, key_of
from agent_operator.core.names import COMPONENT_GATEWAY, COMPONENT_STORE
from agent_operator.core.resources.metadata import Manifest
from agent_operator.reconcile import AgentKey, NamespaceKey, WorkKey


class Intake:
    """Keeps the store up to date, and asks for work where something changed that we did not write ourselves."""

    def __init__(self, store: Store, enqueue: Callable[[WorkKey], None], namespaces: frozenset[str]) -> None:
        self._store = store
        self._enqueue = enqueue
        self._namespaces = namespaces

    def take(self, kind: Kind, event_type: str | None, manifest: Manifest) -> None:
        """Take one event."""
        namespace = manifest["metadata"]["namespace"]
        if self._namespaces and namespace not in self._namespaces:
            return
        manifest = {"apiVersion": kind.api_version, "kind": kind.kind, **manifest}
        before = self._store.get(kind, *key_of(manifest))
        deleted = event_type == "DELETED"
        take = self._store.remove if deleted else self._store.put
        if take(kind, manifest):
            self._ask(kind, before, manifest, deleted=deleted)

    def enqueue_all(self) -> None:
        """Ask for work on everything there is."""
        for key in self.keys():
            self._enqueue(key)

    def keys(self) -> list[WorkKey]:
        """Everything that there may be work on."""
        agents: list[WorkKey] = [AgentKey(*key_of(agent)) for agent in self._store.all(kinds.AGENT_DEPLOYMENT)]
        holders = (kinds.AGENT_DEPLOYMENT, kinds.DEPLOYMENT, kinds.CONFIG_MAP)
        namespaces = {key_of(manifest)[0] for kind in holders for manifest in self._store.all(kind)}
        return [*agents, *map(NamespaceKey, sorted(namespaces))]

    def _ask(self, kind: Kind, before: Manifest | None, manifest: Manifest, *, deleted: bool) -> None:
        namespace = manifest["metadata"]["namespace"]
        labels = manifest["metadata"].get("labels", {})
        if kind is kinds.AGENT_DEPLOYMENT:
            self._enqueue(AgentKey(*key_of(manifest)))
            if deleted or before is None:
                self._enqueue(NamespaceKey(namespace))
        elif AGENT_LABEL in labels:
            self._enqueue(AgentKey(namespace, labels[AGENT_LABEL]))
        elif labels.get(COMPONENT_LABEL) in {COMPONENT_GATEWAY, COMPONENT_STORE}:
            self._enqueue(NamespaceKey(namespace))
            gateway = labels[COMPONENT_LABEL] == COMPONENT_GATEWAY
            if gateway and kind is kinds.POD and (before is None or deleted or is_ready(before) != is_ready(manifest)):
                self.enqueue_namespace(namespace)

    def enqueue_namespace(self, namespace: str) -> None:
        """Ask for work on every agent of a namespace."""
        for agent in self._store.in_namespace(kinds.AGENT_DEPLOYMENT, namespace):
            self._enqueue(AgentKey(*key_of(agent)))
