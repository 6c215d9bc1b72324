"""What a gateway has in force, as `GET /applied` answers it to the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from agent_api.meta import ApiModel

APPLIED_PATH = "/applied"
GATEWAY_CONTROL_PORT = 8085
FRONT_DOOR_PORT = 8086
"""Port of every gateway pod at which all agents of its namespace are reached."""
MAX_WAIT_SECONDS = 30


FIRST_FIELDS = (
    *("serial", "port", "epoch", "suspended", "stickiness", "lease", "description", "apiKeys"),
    *("jwt", "jwt.issuer", "jwt.audiences", "jwt.jwks"),
    *("revisions", "revisions.name", "revisions.service", "revisions.weight", "revisions.role"),
)
"""Fields of an AgentRoute's spec that every gateway enforces, also one that does not say which it knows."""

_OF_THE_OPERATOR = frozenset({"rollout"})
_WITH_MEMBERS = ("jwt", "revisions")


def needed_fields(spec: Mapping[str, Any]) -> frozenset[str]:
    """Fields of an AgentRoute's spec, as JSON without defaults, that gateways must know to do what it says."""
    needed = set(spec) - _OF_THE_OPERATOR
    for name in _WITH_MEMBERS:
        value = spec.get(name) or ()
        for member in value if isinstance(value, list | tuple) else (value,):
            needed |= {f"{name}.{field}" for field in member}
    return frozenset(needed)


class AppliedRoute(ApiModel):
    """What one gateway has in force for one agent."""

    uid: str = Field(description="uid of the AgentRoute, so that a re-created one is told from the old.")
    serial: int = Field(ge=0, description="Newest serial whose routing Envoy confirmed; 0: none yet.")
    lease_expired: bool = Field(default=False, description="Whether new conversations go to stable for want of a bump.")
    error: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="Why the newest serial is not in force."
    )


class Applied(ApiModel):
    """Answer to `GET /applied?since=<version>&wait=<seconds>`: at once if the version moved on, else after the wait."""

    instance: str = Field(description="Name of the gateway pod.")
    version: int = Field(ge=0, description="Rises with every change of this answer; starts anew with the process.")
    boot: str = Field(description="Random id of the process.")
    fields: tuple[str, ...] = Field(
        default=FIRST_FIELDS, description="Fields of an AgentRoute's spec that this gateway enforces."
    )
    routes: dict[str, AppliedRoute] = Field(default_factory=dict, description="By name of the agent.")
