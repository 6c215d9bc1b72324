"""AgentDeployment: what a team declares."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agent_api.meta import ApiModel, KeyReference
from agent_api.quantities import Duration, positive_durations
from agent_api.v1alpha1.model import ModelEndpoint, Resilience
from agent_api.v1alpha1.rollout import Rollout
from agent_api.v1alpha1.runtime import RuntimeSpec
from agent_api.v1alpha1.status import AgentDeploymentStatus

MAX_NAME_LENGTH = 45
MAX_INSTRUCTION_BYTES = 200 * 1024


class InstructionsSource(ApiModel):
    """Where instructions are read from."""

    config_map_key_ref: KeyReference = Field(description="Key of a ConfigMap in the same namespace.")


class AgentBehaviour(ApiModel):
    """What the agent is told and how long it may work."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.instructions) != has(self.instructionsFrom)",
                    "message": "exactly one of instructions and instructionsFrom is required",
                },
                {
                    "rule": f"!has(self.instructions) || size(bytes(self.instructions)) <= {MAX_INSTRUCTION_BYTES}",
                    "message": f"instructions must have at most {MAX_INSTRUCTION_BYTES} bytes in UTF-8",
                    "fieldPath": ".instructions",
                },
                *positive_durations("timeout", longest="1h"),
            ]
        }
    }

    instructions: Annotated[str, Field(min_length=1, max_length=100_000)] | None = Field(
        default=None, description="The system prompt."
    )
    instructions_from: InstructionsSource | None = Field(
        default=None, description="The system prompt from a ConfigMap; its content is part of the revision."
    )
    max_iterations: int = Field(default=10, ge=1, le=100, description="Most model calls of one run. Default 10.")
    timeout: Duration = Field(default="5m", description="One deadline for a whole run, at most 1h. Default 5m.")


class AgentDeploymentSpec(ApiModel):
    """The desired agent."""

    replicas: int = Field(default=1, ge=0, le=1000, description="Pods of the stable revision. Default 1.")
    paused: bool = Field(
        default=False, description="Freezes a rollout where it stands; a failing canary is still taken back."
    )
    suspend: bool = Field(default=False, description="Kill switch: the gateway refuses new runs at once.")
    agent: AgentBehaviour = Field(description="What the agent is told and how long it may work.")
    model: ModelEndpoint = Field(description="The model that answers.")
    fallback: Annotated[
        tuple[ModelEndpoint, ...], Field(max_length=5, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=(), description="Complete model entries, tried in order when the model fails.")
    resilience: Resilience = Field(default=Resilience(), description="How a call to a model is tried again.")
    runtime: RuntimeSpec = Field(default=RuntimeSpec(), description="The runtime container and its pod.")
    rollout: Rollout = Field(default=Rollout(), description="How a new revision takes over.")


class AgentDeployment(ApiModel):
    """An AI agent in production: model, instructions, pods, and how a new behaviour takes over."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                    "message": f"metadata.name must have at most {MAX_NAME_LENGTH} characters",
                },
                {
                    "rule": "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
                    "message": "metadata.name must be a DNS-1035 label: lower case letters, digits and '-',"
                    " beginning with a letter",
                },
                {
                    "rule": "!self.metadata.name.startsWith('greylag')",
                    "message": "metadata.name must not begin with 'greylag': such names are the operator's",
                },
            ]
        }
    }

    api_version: Annotated[str, Field(max_length=64)] = Field(description="greylag.dev/v1alpha1")
    kind: Annotated[str, Field(max_length=64)] = Field(description="AgentDeployment")
    metadata: dict[str, Any] = Field(description="Standard object metadata.")
    spec: AgentDeploymentSpec = Field(description="The desired agent.")
    status: AgentDeploymentStatus | None = Field(default=None, description="What the operator observed.")
