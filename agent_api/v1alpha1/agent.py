"""AgentDeployment: what a team declares."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from agent_api.meta import ApiModel, KeyReference
from agent_api.quantities import Duration, positive_durations
from agent_api.v1alpha1.access import Access, Store
from agent_api.v1alpha1.budgets import Budgets, RateLimits
from agent_api.v1alpha1.guards import Cache, Guards
from agent_api.v1alpha1.model import ModelEndpoint, Resilience
from agent_api.v1alpha1.rollout import Rollout
from agent_api.v1alpha1.runtime import RuntimeSpec
from agent_api.v1alpha1.status import AgentDeploymentStatus
from agent_api.v1alpha1.tools import ToolPolicy, ToolSource

MAX_NAME_LENGTH = 45
MAX_INSTRUCTION_BYTES = 200 * 1024


class InstructionsSource(ApiModel):
    """Where instructions are read from."""

    config_map_key_ref: KeyReference = Field(description="Key of a ConfigMap in the same namespace.")


class OnOverflow(StrEnum):
    """What happens to a conversation that grows too long."""

    TRIM = "Trim"
    SUMMARISE = "Summarise"


class Conversations(ApiModel):
    """What the agent remembers of a conversation."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": positive_durations("ttl", longest="720h")}}

    ttl: Duration = Field(
        default="24h", description="How long a conversation is kept after its last turn, at most 720h. Default 24h."
    )
    max_tokens: int = Field(
        default=16_000, ge=100, le=2_000_000, description="Most tokens of it that a model is sent. Default 16000."
    )
    on_overflow: OnOverflow = Field(
        default=OnOverflow.TRIM,
        description="Trim (default): the oldest turns are left out; Summarise: the model sums them up.",
    )


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
    description: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="What the agent is for, shown to its callers; a change needs no new revision."
    )
    max_iterations: int = Field(default=10, ge=1, le=100, description="Most model calls of one run. Default 10.")
    timeout: Duration = Field(default="5m", description="One deadline for a whole run, at most 1h. Default 5m.")
    conversations: Conversations = Field(
        default=Conversations(), description="What the agent remembers of a conversation."
    )


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
    budgets: Budgets = Field(default=Budgets(), description="What may be spent. Nothing set: no limit.")
    tools: Annotated[
        list[ToolSource],
        Field(
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field(default=[], description="Tools that the model may ask for.")
    tool_policy: ToolPolicy = Field(default=ToolPolicy(), description="Which calls of tools are allowed.")
    guards: Guards = Field(default=Guards(), description="Guards of questions and answers.")
    cache: Cache | None = Field(default=None, description="Answers from memory. Unset: none.")
    rate_limits: RateLimits = Field(default=RateLimits(), description="How often the agent may be asked.")
    access: Access = Field(default=Access(), description="Who may ask the agent.")
    store: Store | None = Field(
        default=None, description="Redis of the agent. Unset: the trial store of the namespace, which is not backed up."
    )
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
