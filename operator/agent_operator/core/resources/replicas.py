"""Who says how many replicas a Deployment has: its field managers."""

from __future__ import annotations

from collections.abc import Iterator

from agent_operator.core.names import FIELD_MANAGER, SCALE_MANAGER
from agent_operator.core.resources.metadata import Manifest


def replicas_we_own(live: Manifest) -> int | None:
    """Replicas that a forced apply must repeat, or it would set them to 1; None once something scaled it."""
    if (FIELD_MANAGER, "Apply") not in _owners(live):
        return None
    replicas: int = live["spec"]["replicas"]
    return replicas


def scaled_by_others(live: Manifest) -> bool:
    """Whether an autoscaler or a person set the replicas last, so that they are not ours to set any more."""
    return any(manager not in {FIELD_MANAGER, SCALE_MANAGER} for manager, _ in _owners(live))


def _owners(live: Manifest) -> Iterator[tuple[str, str]]:
    """Managers of `spec.replicas`, each with its operation."""
    for entry in live["metadata"].get("managedFields", ()):
        if "f:replicas" in entry.get("fieldsV1", {}).get("f:spec", {}):
            yield str(entry.get("manager")), str(entry.get("operation"))
