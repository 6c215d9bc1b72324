"""From routes and endpoints to Envoy's resources. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_api.acknowledgement import FRONT_DOOR_PORT
from agent_gateway.envoy.heap import heap_actions, heap_monitor
from agent_gateway.envoy.render_clusters import render_cluster, render_door_cluster
from agent_gateway.envoy.render_front_door import Entry, entry_of, render_door_host
from agent_gateway.envoy.render_listener import render_front_door, render_listener
from agent_gateway.envoy.render_routes import render_host, render_table
from agent_gateway.envoy.resources import (
    BOOTSTRAP_FILE,
    CLUSTERS_FILE,
    LISTENERS_FILE,
    ROUTES_FILE,
    Resource,
    cluster_name,
    discovery,
    door_cluster,
    typed,
)
from agent_gateway.watching.endpoints import Endpoint
from agent_gateway.watching.routes import Route

_MAX_CONNECTIONS = 20_000
_ADMIN_ADDRESS = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where Envoy finds files and listens."""

    config_dir: Path
    address: str
    admin_port: int
    front_door_port: int = FRONT_DOOR_PORT
    heap_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Everything that Envoy must know for one agent."""

    agent: str
    listener: Resource
    host: Resource
    clusters: Mapping[str, Resource]
    entry: Entry

    @property
    def listener_name(self) -> str:
        """Name of the listener resource."""
        return str(self.listener["name"])


def render_agent(
    route: Route, endpoints: Mapping[str, frozenset[Endpoint]], layout: Layout, *, lease_expired: bool
) -> AgentConfig:
    """Configuration of one agent; `endpoints` are those to use, by cluster name, none where missing."""
    door = render_door_cluster(route.name, route.spec.port)
    names = [cluster_name(route.name, revision.name) for revision in route.spec.revisions]
    return AgentConfig(
        agent=route.name,
        listener=render_listener(route.name, route.spec.port, layout.address, layout.config_dir),
        host=render_host(route, lease_expired=lease_expired),
        clusters={name: render_cluster(name, endpoints.get(name, frozenset())) for name in names}
        | {door_cluster(route.name): door},
        entry=entry_of(route, endpoints),
    )


def render_first(layout: Layout) -> dict[str, Resource]:
    """Files without which Envoy exits at its start, by name."""
    return {
        CLUSTERS_FILE: discovery([]),
        ROUTES_FILE: discovery([render_table([render_door_host([])])]),
        LISTENERS_FILE: discovery([]),
        BOOTSTRAP_FILE: render_bootstrap(layout),
    }


def render_bootstrap(layout: Layout) -> Resource:
    """What Envoy starts with: its admin interface on loopback, the front door and the files to follow."""
    return {
        "node": {"id": "greylag-gateway", "cluster": "greylag-gateway"},
        "admin": {"address": {"socket_address": {"address": _ADMIN_ADDRESS, "port_value": layout.admin_port}}},
        "dynamic_resources": {
            "lds_config": _follow(layout.config_dir / LISTENERS_FILE),
            "cds_config": _follow(layout.config_dir / CLUSTERS_FILE),
        },
        "static_resources": {
            "listeners": [render_front_door(layout.address, layout.front_door_port, layout.config_dir)]
        },
        "overload_manager": _overload(layout.heap_bytes),
        "layered_runtime": {"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 1000}}]},
    }


def _overload(most_heap_bytes: int | None) -> Resource:
    connections = typed(
        "envoy.resource_monitors.global_downstream_max_connections",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=_MAX_CONNECTIONS,
    )
    if most_heap_bytes is None:
        return {"resource_monitors": [connections]}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [connections, heap_monitor(most_heap_bytes)],
        "actions": heap_actions(),
    }


def _follow(path: Path) -> Resource:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
