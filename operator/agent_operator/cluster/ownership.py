"""Whose an object is: labels and names prove nothing, as anybody in a namespace may write them."""

from __future__ import annotations

from agent_api.meta import MANAGED_BY, MANAGED_BY_LABEL
from agent_operator.cluster import kinds
from agent_operator.cluster.store import Store
from agent_operator.core.resources.metadata import Manifest


def is_owned_by(manifest: Manifest, uid: str) -> bool:
    """Whether an object names an owner of this uid: one of a deleted agent of the same name names another."""
    return any(owner.get("uid") == uid for owner in manifest["metadata"].get("ownerReferences", ()))


def is_of_namespace(manifest: Manifest) -> bool:
    """Whether an object of a namespace, which no agent owns, carries our label."""
    return bool(manifest["metadata"].get("labels", {}).get(MANAGED_BY_LABEL) == MANAGED_BY)


def runs_for_us(pod: Manifest, store: Store) -> bool:
    """Whether a ReplicaSet of one of our own Deployments controls a pod."""
    replica_set = _controller_of(pod, kinds.REPLICA_SET, store)
    return replica_set is not None and _controller_of(replica_set, kinds.DEPLOYMENT, store) is not None


def _controller_of(manifest: Manifest, kind: kinds.Kind, store: Store) -> Manifest | None:
    """The very object that controls another, if the store knows it."""
    owners = manifest["metadata"].get("ownerReferences", ())
    owner = next((owner for owner in owners if owner.get("controller")), None)
    found = None if owner is None else store.get(kind, manifest["metadata"]["namespace"], owner["name"])
    return found if owner is not None and found is not None and found["metadata"]["uid"] == owner["uid"] else None
