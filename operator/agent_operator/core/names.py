"""Names and labels of the objects that the operator makes."""

from __future__ import annotations

from agent_api.meta import AGENT_LABEL, COMPONENT_LABEL, MANAGED_BY, MANAGED_BY_LABEL, REVISION_LABEL

GATEWAY = "greylag-gateway"
FRONT_DOOR = "greylag"
TRIAL_STORE = "greylag-store"
FIELD_MANAGER = "greylag"
STATUS_MANAGER = "greylag-status"
SCALE_MANAGER = "greylag-scale"
MANAGED_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY}"

COMPONENT_REVISION = "revision"
COMPONENT_AGENT = "agent"
COMPONENT_GATEWAY = "gateway"
COMPONENT_LIVE = "live"
COMPONENT_STORE = "store"


def agent_labels(agent: str, component: str) -> dict[str, str]:
    """Labels of an object that belongs to one agent."""
    return {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: component, AGENT_LABEL: agent}


def revision_labels(agent: str, revision: str) -> dict[str, str]:
    """Labels of an object that belongs to one revision."""
    return {**agent_labels(agent, COMPONENT_REVISION), REVISION_LABEL: revision}


def revision_selector(revision: str) -> dict[str, str]:
    """Labels that select the pods of one revision; immutable in a Deployment."""
    return {MANAGED_BY_LABEL: MANAGED_BY, REVISION_LABEL: revision}


def gateway_labels() -> dict[str, str]:
    """Labels of the gateway's objects in a namespace."""
    return {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: COMPONENT_GATEWAY}


def store_labels() -> dict[str, str]:
    """Labels of the trial store's objects in a namespace."""
    return {MANAGED_BY_LABEL: MANAGED_BY, COMPONENT_LABEL: COMPONENT_STORE}


def selector_text(labels: dict[str, str]) -> str:
    """Write labels as a selector, in a stable order."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
