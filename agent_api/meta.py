"""What every type of the contract shares: the base model, references and conditions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

GROUP = "greylag.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

COMMAND_ANNOTATION = f"{GROUP}/command"
AGENT_LABEL = f"{GROUP}/agent"
REVISION_LABEL = f"{GROUP}/revision"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "greylag"
COMPONENT_LABEL = "app.kubernetes.io/component"

CONVERSATION_HEADER = "x-conversation-id"
REQUEST_ID_HEADER = "x-request-id"
EPOCH_HEADER = "x-greylag-epoch"
USER_HEADER = "x-user-id"
OUTCOME_HEADER = "x-greylag-outcome"
CACHE_HEADER = "x-greylag-cache"
COST_HEADER = "x-greylag-cost-usd"
MODEL_HEADER = "x-greylag-model"
REVISION_HEADER = "x-greylag-revision"


class ApiModel(BaseModel):
    """Frozen model whose fields are camelCase on the wire and which refuses fields that it does not know."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy with some fields changed.

        Raises
        ------
        TypeError
            If `update` names something that is no field; pydantic would set a stray attribute, and change nothing.
        """
        unknown = sorted((update or {}).keys() - type(self).model_fields.keys())
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")
        return super().model_copy(update=update, deep=deep)


_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*$")]
DataKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
RevisionName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
ShortText = Annotated[str, Field(max_length=1024)]


class KeyReference(ApiModel):
    """One key of a Secret or ConfigMap in the same namespace."""

    name: ObjectName = Field(description="Name of the object, in the same namespace.")
    key: DataKey = Field(description="Key inside the object.")


class ConditionStatus(StrEnum):
    """Tri-state of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One aspect of the agent's state (metav1.Condition)."""

    type: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Aspect, in PascalCase.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Cause, in PascalCase.")
    message: Annotated[str, Field(max_length=2048)] = Field(description="What a person should know and do.")
    last_transition_time: datetime = Field(description="When the status last changed.")
    observed_generation: int | None = Field(default=None, description="Generation that this was computed from.")


def format_time(moment: datetime) -> str:
    """Write a moment as Kubernetes does: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
