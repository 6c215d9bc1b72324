"""Metadata that the objects of an agent share."""

from __future__ import annotations

from typing import Any

from agent_api.meta import API_VERSION

Manifest = dict[str, Any]


def make_owner(agent: str, uid: str) -> Manifest:
    """Reference that lets Kubernetes delete an object with its AgentDeployment."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentDeployment",
        "name": agent,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def make_metadata(name: str, namespace: str, labels: dict[str, str], owner: Manifest | None = None) -> Manifest:
    """Metadata with labels and, for objects of one agent, its owner."""
    metadata: Manifest = {"name": name, "namespace": namespace, "labels": labels}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return metadata


RESTRICTED_POD: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Security context of every pod, as Pod Security `restricted` asks for."""

RESTRICTED_CONTAINER: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
"""Security context of every container, as Pod Security `restricted` asks for."""

GRACE_SECONDS = 3720
"""Longest orderly end of a pod: the longest run (1 h) and a margin."""
