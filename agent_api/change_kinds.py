"""What a change of each part of `spec` does: the one table behind the revision hash, the reference and the tests."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_api.v1alpha1.agent import AgentDeploymentSpec


class ChangeKind(StrEnum):
    """What a change of a field leads to."""

    BEHAVIOUR = "Behaviour"
    """A new revision, rolled out step by step."""
    ROLLING = "Rolling"
    """Pods of the same revision are replaced, without a canary."""
    LIVE = "Live"
    """No pod restarts."""


CHANGE_KINDS: Mapping[str, ChangeKind] = MappingProxyType(
    {
        "replicas": ChangeKind.LIVE,
        "paused": ChangeKind.LIVE,
        "suspend": ChangeKind.LIVE,
        "agent": ChangeKind.BEHAVIOUR,
        "agent.description": ChangeKind.LIVE,
        "model": ChangeKind.BEHAVIOUR,
        "model.apiKeySecretRef": ChangeKind.ROLLING,
        "fallback": ChangeKind.BEHAVIOUR,
        "fallback[].apiKeySecretRef": ChangeKind.ROLLING,
        "resilience": ChangeKind.BEHAVIOUR,
        "budgets": ChangeKind.LIVE,
        "tools": ChangeKind.BEHAVIOUR,
        "tools[].mcp.headersFrom[].secretKeyRef": ChangeKind.ROLLING,
        "tools[].http.headersFrom[].secretKeyRef": ChangeKind.ROLLING,
        "toolPolicy": ChangeKind.BEHAVIOUR,
        "guards": ChangeKind.BEHAVIOUR,
        "cache": ChangeKind.BEHAVIOUR,
        "rateLimits": ChangeKind.LIVE,
        "access": ChangeKind.LIVE,
        "access.apiKeysSecretRef": ChangeKind.ROLLING,
        "store": ChangeKind.ROLLING,
        "runtime.image": ChangeKind.BEHAVIOUR,
        "runtime.resources": ChangeKind.BEHAVIOUR,
        "runtime.env": ChangeKind.BEHAVIOUR,
        "runtime.pod": ChangeKind.ROLLING,
        "rollout": ChangeKind.LIVE,
    }
)
"""Path below `spec`, as the wire names it, to the kind of everything at and below it; the longest path wins."""


def change_kind_of(path: str) -> ChangeKind:
    """Kind of the field at a path such as `model.timeouts.total` or `fallback[].name`.

    Raises
    ------
    KeyError
        If no entry of the table covers the path.
    """
    covering = path
    while covering not in CHANGE_KINDS:
        covering = covering.removesuffix("[]") if covering.endswith("[]") else covering.rpartition(".")[0]
        if not covering:
            raise KeyError(path)
    return CHANGE_KINDS[covering]


def behaviour_of(spec: AgentDeploymentSpec) -> dict[str, Any]:
    """Behaviour of an agent in canonical form: what the revision's hash is made of.

    Holds plain JSON values by their names on the wire. Fields equal to their default, empty objects, and all that
    is Rolling or Live are left out, so that writing a default down or moving pods makes no revision.
    """
    return _behaviour_at(spec.model_dump(mode="json", by_alias=True, exclude_defaults=True), prefix="")


def _behaviour_at(node: dict[str, Any], prefix: str) -> dict[str, Any]:
    kept = {}
    for name, value in node.items():
        path = f"{prefix}{name}"
        if not _holds_behaviour(path):
            continue
        reduced = _reduced(value, path)
        if reduced != {}:
            kept[name] = reduced
    return kept


def _reduced(value: Any, path: str) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return _behaviour_at(value, prefix=f"{path}.")
    if isinstance(value, list):
        return [_reduced(item, f"{path}[]") for item in value]
    return value


def _holds_behaviour(path: str) -> bool:
    """Whether the path, or a path below it, is Behaviour."""
    if any(entry.startswith(f"{path}.") and kind is ChangeKind.BEHAVIOUR for entry, kind in CHANGE_KINDS.items()):
        return True
    return change_kind_of(path) is ChangeKind.BEHAVIOUR
