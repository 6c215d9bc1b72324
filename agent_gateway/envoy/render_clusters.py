"""Clusters (CDS): one per revision with its pods in it, and one per agent with its own listener in it.

A change replaces the cluster and cuts no running request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agent_gateway.envoy.resources import CLUSTER_TYPE, Resource, door_cluster
from agent_gateway.watching.endpoints import Endpoint

_MANY = 1_000_000
_LOOPBACK = "127.0.0.1"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_UPSTREAM_IDLE = "30s"
"""Below the keep-alive of the runtime (75 s), so that Envoy and not the runtime closes an idle connection."""


def render_cluster(name: str, endpoints: Iterable[Endpoint]) -> Resource:
    """Cluster of one revision, with its pods."""
    return {**_cluster(name, endpoints), "outlier_detection": _OUTLIER_DETECTION}


def render_door_cluster(agent: str, port: int) -> Resource:
    """Cluster by which the front door reaches an agent's listener, in the same Envoy."""
    return _cluster(door_cluster(agent), [Endpoint(_LOOPBACK, port)])


def _cluster(name: str, endpoints: Iterable[Endpoint]) -> Resource:
    members = [
        {"endpoint": {"address": {"socket_address": {"address": e.address, "port_value": e.port}}}}
        for e in sorted(endpoints)
    ]
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": members}]},
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "per_connection_buffer_limit_bytes": 1 << 20,
        "circuit_breakers": {"thresholds": [_THRESHOLDS]},
        "upstream_connection_options": {
            "tcp_keepalive": {"keepalive_time": 30, "keepalive_interval": 10, "keepalive_probes": 3}
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }


_THRESHOLDS: Resource = {
    "max_connections": _MANY,
    "max_pending_requests": _MANY,
    "max_requests": _MANY,
    "max_retries": _MANY,
}

_OUTLIER_DETECTION: Resource = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 5,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "enforcing_local_origin_success_rate": 0,
    "interval": "5s",
    "base_ejection_time": "5s",
    "max_ejection_percent": 50,
}


def read_endpoints(cluster: Resource) -> frozenset[Endpoint]:
    """Pods of a cluster, as `render_cluster` wrote it."""
    groups: list[dict[str, Any]] = cluster["load_assignment"]["endpoints"]
    sockets = [m["endpoint"]["address"]["socket_address"] for group in groups for m in group["lb_endpoints"]]
    return frozenset(Endpoint(socket["address"], int(socket["port_value"])) for socket in sockets)
