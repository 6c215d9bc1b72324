"""What is known of the cluster: the newest version seen of every object of ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from agent_api.meta import AGENT_LABEL, COMPONENT_LABEL, REVISION_LABEL
from agent_operator.cluster.kinds import Kind
from agent_operator.core.resources.metadata import Manifest

Key = tuple[str, str]
_INDEXED = (AGENT_LABEL, REVISION_LABEL, COMPONENT_LABEL)
_Place = tuple[str, str, str]
"""Namespace, label and its value."""


def key_of(manifest: Manifest) -> Key:
    """Namespace and name of an object."""
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def version_of(manifest: Manifest) -> int:
    """Resource version as a number: of one kind, comparable since Kubernetes 1.35."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def agent_of(manifest: Manifest) -> str | None:
    """Name of the agent that an object belongs to."""
    agent: str | None = _labels(manifest).get(AGENT_LABEL)
    return agent


def _labels(manifest: Manifest) -> Manifest:
    return manifest["metadata"].get("labels") or {}


class _Objects:
    """Objects of one kind, found by name, by namespace, and by the labels that we look for."""

    def __init__(self) -> None:
        self.all: dict[Key, Manifest] = {}
        self._by_namespace: defaultdict[str, dict[str, Manifest]] = defaultdict(dict)
        self._by_label: defaultdict[_Place, dict[str, Manifest]] = defaultdict(dict)

    def put(self, key: Key, manifest: Manifest) -> None:
        self.drop(key)
        namespace, name = key
        self.all[key] = self._by_namespace[namespace][name] = manifest
        for label in self._labelled(manifest):
            self._by_label[namespace, *label][name] = manifest

    def drop(self, key: Key) -> None:
        known = self.all.pop(key, None)
        if known is None:
            return
        namespace, name = key
        del self._by_namespace[namespace][name]
        for label in self._labelled(known):
            del self._by_label[namespace, *label][name]

    def in_namespace(self, namespace: str) -> dict[str, Manifest]:
        return self._by_namespace.get(namespace, {})

    def labelled(self, namespace: str, label: str, value: str) -> dict[str, Manifest]:
        return self._by_label.get((namespace, label, value), {})

    @staticmethod
    def _labelled(manifest: Manifest) -> list[tuple[str, str]]:
        labels = _labels(manifest)
        return [(label, labels[label]) for label in _INDEXED if label in labels]


class Store:
    """Newest objects by kind, namespace and name. An older version never replaces a newer one.

    Looks by namespace, agent, revision and component cost what they find, not what there is.
    """

    def __init__(self) -> None:
        self._objects: defaultdict[Kind, _Objects] = defaultdict(_Objects)
        self._deleted: dict[tuple[Kind, Key], int] = {}
        self._listed: dict[Kind, int] = {}

    def put(self, kind: Kind, manifest: Manifest) -> bool:
        """Keep an object unless a newer one is known; says whether anything changed."""
        key = key_of(manifest)
        known = self._objects[kind].all.get(key)
        version = version_of(manifest)
        if known is not None and version <= version_of(known):
            return False
        if version <= self._deleted.get((kind, key), 0):
            return False
        self._objects[kind].put(key, manifest)
        return True

    def remove(self, kind: Kind, manifest: Manifest) -> bool:
        """Forget a deleted object, unless another of that name was made since."""
        key = key_of(manifest)
        known = self._objects[kind].all.get(key)
        version = version_of(manifest)
        self._deleted[kind, key] = max(version, self._deleted.get((kind, key), 0))
        if known is None or version_of(known) > version:
            return False
        self._objects[kind].drop(key)
        return True

    def discard(self, kind: Kind, key: Key) -> None:
        """Forget an object that a read found missing."""
        self._objects[kind].drop(key)

    def replace_all(self, kind: Kind, manifests: Iterable[Manifest], version: int) -> set[Key]:
        """Take over a complete listing at a version; returns the keys of objects that changed or are gone.

        A listing that is older than the one before shows that the cluster was restored from a backup: then only the
        listing counts, as versions that were seen since that backup will be given again.
        """
        listed = {key_of(manifest): manifest for manifest in manifests}
        restored = version < self._listed.get(kind, 0)
        self._listed[kind] = version
        known = self._objects[kind]
        gone = {
            key for key, found in known.all.items() if key not in listed and (restored or version_of(found) <= version)
        }
        for key in tuple(known.all) if restored else gone:
            known.drop(key)
        self._deleted = {
            entry: seen
            for entry, seen in self._deleted.items()
            if entry[0] != kind or (seen > version and not restored)
        }
        changed = {key for key, manifest in listed.items() if self.put(kind, manifest)}
        return gone | changed

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """An object, or None."""
        return self._objects[kind].all.get((namespace, name))

    def all(self, kind: Kind) -> Iterator[Manifest]:
        """Every object of a kind."""
        yield from tuple(self._objects[kind].all.values())

    def in_namespace(self, kind: Kind, namespace: str) -> list[Manifest]:
        """Objects of a kind in a namespace."""
        return list(self._objects[kind].in_namespace(namespace).values())

    def of_agent(self, kind: Kind, namespace: str, agent: str) -> dict[str, Manifest]:
        """Objects of a kind that belong to an agent, by name."""
        return dict(self._objects[kind].labelled(namespace, AGENT_LABEL, agent))

    def labelled(self, kind: Kind, namespace: str, label: str, value: str) -> list[Manifest]:
        """Objects of a kind with the label of an agent, revision or component.

        Raises
        ------
        ValueError
            If the label is another one: nothing is found by it.
        """
        if label not in _INDEXED:
            raise ValueError(f"objects are not found by label {label}")
        return list(self._objects[kind].labelled(namespace, label, value).values())
