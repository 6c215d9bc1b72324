"""Objects that every cluster starts with: the name server's rights and its Service."""

from typing import Any

from devcluster.api import ApiClient
from devcluster.plan import Plan

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_DNS = "kube-dns"
_COREDNS = "system:coredns"


def bootstrap_objects(plan: Plan) -> list[tuple[str, dict[str, Any]]]:
    """List (collection path, object) in the order of creation."""
    return [
        (f"{_RBAC}/clusterroles", _coredns_role()),
        (f"{_RBAC}/clusterrolebindings", _coredns_binding()),
        ("/api/v1/namespaces/kube-system/services", _dns_service(plan)),
        ("/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices", _dns_endpoints(plan)),
    ]


def create_bootstrap_objects(plan: Plan, api: ApiClient) -> None:
    """Create them; those that exist stay."""
    for collection, item in bootstrap_objects(plan):
        api.create(collection, item)


def _coredns_role() -> dict[str, Any]:
    verbs = ["list", "watch"]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": _COREDNS},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": verbs},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
        ],
    }


def _coredns_binding() -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _COREDNS},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": _COREDNS},
        "subjects": [{"apiGroup": group, "kind": "User", "name": _COREDNS}],
    }


def _dns_service(plan: Plan) -> dict[str, Any]:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": _DNS, "namespace": "kube-system", "labels": {"k8s-app": _DNS}},
        "spec": {"clusterIP": plan.dns_service_address, "ports": ports},
    }


def _dns_endpoints(plan: Plan) -> dict[str, Any]:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    labels = {"kubernetes.io/service-name": _DNS, "endpointslice.kubernetes.io/managed-by": "devcluster"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": _DNS, "namespace": "kube-system", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [plan.nodes[0].address], "conditions": {"ready": True}}],
        "ports": ports,
    }
