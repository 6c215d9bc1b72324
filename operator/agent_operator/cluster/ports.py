"""Ports of the agents' listeners: one an agent, none twice in a namespace."""

from __future__ import annotations

from agent_operator.cluster import kinds
from agent_operator.cluster.store import Key, Store


class Ports:
    """Finds free ports from `first` to `last`, and remembers those that were promised until their routes are stored."""

    def __init__(self, store: Store, first: int, last: int) -> None:
        self._store = store
        self._range = range(first, last + 1)
        self._promised: dict[Key, int] = {}

    def free(self, key: Key) -> int | None:
        """A port that no route has and no other agent was promised; None if there is none left."""
        namespace, name = key
        others = self._store.in_namespace(kinds.AGENT_ROUTE, namespace)
        taken = {route["spec"]["port"] for route in others if route["metadata"]["name"] != name}
        taken |= {port for other, port in self._promised.items() if other[0] == namespace and other != key}
        port = next((port for port in self._range if port not in taken), None)
        if port is not None:
            self._promised[key] = port
        return port

    def forget(self, key: Key) -> None:
        """Drop the promise to an agent: its route holds the port, or the agent is gone."""
        self._promised.pop(key, None)
