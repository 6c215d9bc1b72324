"""The cluster that benchmarks share, the namespaces they make, and the objects they put there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_api.meta import API_VERSION
from demo.api import Document, object_path
from demo.environment import SYSTEM_NAMESPACE, Environment
from demo.errors import DemoError
from demo.manifests import make_namespace

APP_LABEL = "app.kubernetes.io/name"
NOWHERE = {"greylag.dev/benchmark": "nowhere"}
"""Labels that no node has: pods stay objects, and start nothing that would disturb the measurement."""
_LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM_NAMESPACE}/leases/greylag-operator"


@contextlib.contextmanager
def namespace(lab: Environment, name: str) -> Iterator[str]:
    """A new namespace; what was in it is gone afterwards."""
    manifest = make_namespace(name)
    lab.renew_namespace(manifest)
    try:
        yield name
    finally:
        lab.renew_namespace(manifest)
        lab.api.delete(object_path(manifest))


def agents_path(space: str) -> str:
    """Path of the AgentDeployments of a namespace."""
    return f"/apis/{API_VERSION}/namespaces/{space}/agentdeployments"


def deployments_path(space: str) -> str:
    """Path of the Deployments of a namespace."""
    return f"/apis/apps/v1/namespaces/{space}/deployments"


def pods_path(space: str) -> str:
    """Path of the Pods of a namespace."""
    return f"/api/v1/namespaces/{space}/pods"


def make_agent(name: str, space: str, replicas: int, selector: dict[str, str] | None = None) -> Document:
    """An AgentDeployment whose model nobody ever asks."""
    spec: dict[str, Any] = {
        "replicas": replicas,
        "agent": {"instructions": "You answer."},
        "model": {"name": "m", "baseURL": "http://models.invalid/v1"},
    }
    if selector:
        spec["runtime"] = {"pod": {"nodeSelector": selector}}
    metadata = {"name": name, "namespace": space}
    return {"apiVersion": API_VERSION, "kind": "AgentDeployment", "metadata": metadata, "spec": spec}


def make_deployment(name: str, space: str, replicas: int, image: str) -> Document:
    """A plain Deployment whose pods, if any, are not scheduled."""
    labels = {APP_LABEL: name}
    container = {
        "name": "main",
        "image": image,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "nodeSelector": NOWHERE,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": space}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def is_healthy(agent: Document) -> bool:
    """Whether an AgentDeployment's status is of its present generation, and Healthy."""
    status = agent.get("status", {})
    return is_observed(agent) and status.get("phase") == "Healthy"


def is_observed(item: Document) -> bool:
    """Whether an object's status is of its present generation."""
    observed = item.get("status", {}).get("observedGeneration")
    return bool(observed == item["metadata"]["generation"])


def name_if_healthy(agent: Document) -> str | None:
    """Name of an AgentDeployment that is Healthy."""
    return str(agent["metadata"]["name"]) if is_healthy(agent) else None


def name_if_observed(item: Document) -> str | None:
    """Name of an object whose status is current."""
    return str(item["metadata"]["name"]) if is_observed(item) else None


def leader_process(lab: Environment) -> int:
    """Id of the leading operator's process on this machine.

    Raises:
        DemoError: nobody leads, or its process is not on this machine.
    """
    pod = str(lab.api.get(_LEASE)["spec"].get("holderIdentity") or "")
    mark = f"GREYLAG_POD_NAME={pod}\0".encode()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and pod and _runs_operator(entry, mark):
                return int(entry.name)
    raise DemoError(f"no process of the leading operator ({pod or 'nobody'}) on this machine")


def _runs_operator(entry: Path, mark: bytes) -> bool:
    return b"agent_operator" in (entry / "cmdline").read_bytes() and mark in (entry / "environ").read_bytes() + b"\0"


def controller_manager_process(lab: Environment) -> int:
    """Id of the kube-controller-manager's process on this machine.

    Raises:
        DemoError: it does not run here.
    """
    process = lab.devcluster.status().programs.get("kube-controller-manager")
    if process is None:
        raise DemoError("no kube-controller-manager on this machine")
    return process
