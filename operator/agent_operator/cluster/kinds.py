"""Kinds of objects that the operator reads and writes, and where the API server serves them."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from agent_api.meta import API_VERSION
from agent_operator.core.names import MANAGED_SELECTOR


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind; `selector` restricts what is listed and watched."""

    api_version: str
    kind: str
    plural: str
    selector: str = MANAGED_SELECTOR

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Path of a collection or an object; without a namespace, that of all namespaces."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [root]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


AGENT_DEPLOYMENT = Kind(API_VERSION, "AgentDeployment", "agentdeployments", selector="")
AGENT_ROUTE = Kind(API_VERSION, "AgentRoute", "agentroutes")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
PERSISTENT_VOLUME_CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
SECRET = Kind("v1", "Secret", "secrets")
"""Only ever created: never in WATCHED."""
POD = Kind("v1", "Pod", "pods")
EVENT = Kind("v1", "Event", "events")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")

WATCHED = (
    AGENT_DEPLOYMENT,
    AGENT_ROUTE,
    CONFIG_MAP,
    SERVICE,
    SERVICE_ACCOUNT,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    DEPLOYMENT,
    REPLICA_SET,
    DISRUPTION_BUDGET,
    ROLE_BINDING,
)

_BY_NAME = {(kind.api_version, kind.kind): kind for kind in WATCHED}


def kind_of(manifest: dict[str, object]) -> Kind:
    """Kind of a manifest of ours.

    Raises
    ------
    KeyError
        If the operator does not handle that kind.
    """
    return _BY_NAME[str(manifest["apiVersion"]), str(manifest["kind"])]
