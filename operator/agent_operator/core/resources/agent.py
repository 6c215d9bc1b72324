"""Objects of one agent beside its revisions: the Service that clients use, and the route."""

from __future__ import annotations

from agent_api.meta import API_VERSION
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_operator.core.names import COMPONENT_AGENT, agent_labels, gateway_labels
from agent_operator.core.resources.metadata import Manifest, make_metadata

CLIENT_PORT = 80


def make_agent_service(agent: str, namespace: str, owner: Manifest, port: int) -> Manifest:
    """Service by the agent's own name, on the agent's listener of every gateway pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": make_metadata(agent, namespace, agent_labels(agent, COMPONENT_AGENT), owner),
        "spec": {
            "selector": gateway_labels(),
            "ports": [{"name": "http", "port": CLIENT_PORT, "targetPort": port, "protocol": "TCP"}],
        },
    }


def make_route(agent: str, namespace: str, owner: Manifest, spec: AgentRouteSpec) -> Manifest:
    """AgentRoute of an agent."""
    return {
        "apiVersion": API_VERSION,
        "kind": "AgentRoute",
        "metadata": make_metadata(agent, namespace, agent_labels(agent, COMPONENT_AGENT), owner),
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def agent_url(agent: str, namespace: str) -> str:
    """Where clients in the cluster reach an agent."""
    return f"http://{agent}.{namespace}.svc.cluster.local"
