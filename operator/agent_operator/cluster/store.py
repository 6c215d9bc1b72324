"""What is known of the cluster: the newest version seen of every object of ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from agent_api.meta import AGENT_LABEL
from agent_operator.cluster.kinds import Kind
from agent_operator.core.resources.metadata import Manifest

Key = tuple[str, str]


def key_of(manifest: Manifest) -> Key:
    """Namespace and name of an object."""
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def version_of(manifest: Manifest) -> int:
    """Resource version as a number: of one kind, comparable since Kubernetes 1.35."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def agent_of(manifest: Manifest) -> str | None:
    """Name of the agent that an object belongs to."""
    agent: str | None = manifest["metadata"].get("labels", {}).get(AGENT_LABEL)
    return agent


class Store:
    """Newest objects by kind, namespace and name. An older version never replaces a newer one."""

    def __init__(self) -> None:
        self._objects: dict[Kind, dict[Key, Manifest]] = defaultdict(dict)
        self._deleted: dict[tuple[Kind, Key], int] = {}

    def put(self, kind: Kind, manifest: Manifest) -> bool:
        """Keep an object unless a newer one is known; says whether anything changed."""
        key = key_of(manifest)
        known = self._objects[kind].get(key)
        version = version_of(manifest)
        if known is not None and version <= version_of(known):
            return False
        if version <= self._deleted.get((kind, key), 0):
            return False
        self._objects[kind][key] = manifest
        return True

    def remove(self, kind: Kind, manifest: Manifest) -> bool:
        """Forget a deleted object, unless another of that name was made since."""
        key = key_of(manifest)
        known = self._objects[kind].get(key)
        version = version_of(manifest)
        self._deleted[kind, key] = max(version, self._deleted.get((kind, key), 0))
        if known is None or version_of(known) > version:
            return False
        del self._objects[kind][key]
        return True

    def discard(self, kind: Kind, key: Key) -> None:
        """Forget an object that a read found missing."""
        self._objects[kind].pop(key, None)

    def replace_all(self, kind: Kind, manifests: Iterable[Manifest], version: int) -> set[Key]:
        """Take over a complete listing at a version; returns the keys of objects that changed or are gone."""
        listed = {key_of(manifest): manifest for manifest in manifests}
        known = self._objects[kind]
        gone = {key for key, manifest in known.items() if key not in listed and version_of(manifest) <= version}
        for key in gone:
            del known[key]
        changed = {key for key, manifest in listed.items() if self.put(kind, manifest)}
        self._deleted = {entry: seen for entry, seen in self._deleted.items() if entry[0] != kind or seen > version}
        return gone | changed

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """An object, or None."""
        return self._objects[kind].get((namespace, name))

    def all(self, kind: Kind) -> Iterator[Manifest]:
        """Every object of a kind."""
        yield from tuple(self._objects[kind].values())

    def in_namespace(self, kind: Kind, namespace: str) -> list[Manifest]:
        """Objects of a kind in a namespace."""
        return [manifest for (place, _), manifest in self._objects[kind].items() if place == namespace]

    def of_agent(self, kind: Kind, namespace: str, agent: str) -> dict[str, Manifest]:
        """Objects of a kind that belong to an agent, by name."""
        return {
            name: manifest
            for (place, name), manifest in self._objects[kind].items()
            if place == namespace and agent_of(manifest) == agent
        }
