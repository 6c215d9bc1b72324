"""Envoy resources as plain data: type URLs, versions by content, file names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

Resource = dict[str, Any]

ROUTES_NAME = "agents"
"""Name of the one route configuration; each agent is a virtual host of it."""
AGENT_HEADER = "x-greylag-agent"
"""Set by the listener and removed before the upstream: which agent's virtual host a request belongs to."""
SUBJECT_HEADER = "x-greylag-subject"
"""Set from a token that was checked and removed before the upstream: the user, for the split."""
EXTERNAL_ADDRESS_HEADER = "x-envoy-external-address"
"""Removed before the upstream: behind the front door it would name this pod. x-forwarded-for holds the whole way."""
FRONT_DOOR = "front_door"
"""Name of the front door's listener and virtual host; the underscore keeps it apart from every agent."""
FOLLOW_UP_ROUTE = "follow-up"
"""Name of rules for requests about a task that was accepted before: they are no runs."""

CLUSTER_TYPE = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LISTENER_TYPE = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTES_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

CLUSTERS_FILE = "cds.json"
LISTENERS_FILE = "lds.json"
ROUTES_FILE = "rds.json"
BOOTSTRAP_FILE = "bootstrap.json"
FAILURES_FILE = "failures.log"
DRAINING_FILE = "draining"


def cluster_name(agent: str, revision: str) -> str:
    """Name of a revision's cluster."""
    return f"{agent}/{revision}"


def door_cluster(agent: str) -> str:
    """Name of the cluster by which the front door reaches an agent's listener."""
    return f"{FRONT_DOOR}:{agent}"


def revision_of_cluster(cluster: str) -> str:
    """Name of the revision that a cluster serves."""
    return cluster.rpartition("/")[2]


def agent_of_cluster(cluster: str) -> str:
    """Name of the agent whose revision a cluster serves."""
    return cluster.rpartition("/")[0]


def listener_name(agent: str, port: int) -> str:
    """Name of an agent's listener; a new port is a new listener, so that the old one can drain."""
    return f"{agent}:{port}"


def discovery(resources: Iterable[Resource]) -> Resource:
    """A discovery response whose version is the hash of its content."""
    ordered = list(resources)
    digest = hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()
    return {"version_info": digest[:16], "resources": ordered}


def typed(name: str, type_name: str, **config: Any) -> Resource:  # noqa: ANN401 - any protobuf field
    """An extension with its typed configuration."""
    return {"name": name, "typed_config": {"@type": f"type.googleapis.com/{type_name}", **config}}
