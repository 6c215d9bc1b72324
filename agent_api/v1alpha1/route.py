"""AgentRoute: what gateways must do for one agent, and the operator's ledger of its rollout.

One object, one write: a transition of the rollout and the routing that belongs to it can never part.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from agent_api.meta import ApiModel, ObjectName, RevisionName, ShortText
from agent_api.v1alpha1.rollout import Stickiness
from agent_api.v1alpha1.status import ObservedCommand


class Role(StrEnum):
    """What a revision is to the gateway."""

    STABLE = "Stable"
    CANARY = "Canary"
    DRAINING = "Draining"


ALL_TRAFFIC = 100
"""Weight of the revision that gets every new conversation, in percent; the weights of a route sum to it."""


class RouteRevision(ApiModel):
    """One revision that the gateway may send requests to."""

    name: RevisionName = Field(description="Name of the revision.")
    service: ObjectName = Field(description="Service whose EndpointSlices hold its pods.")
    weight: int = Field(ge=0, le=ALL_TRAFFIC, description="Percent of new conversations.")
    role: Role = Field(description="Stable and Draining keep conversations of any epoch, Canary those of this epoch.")
    any_epoch: bool = Field(
        default=False, description="Whether a Canary keeps conversations of any epoch, as it was Draining before."
    )


class Lease(ApiModel):
    """Proof that the operator still watches a canary."""

    counter: int = Field(default=0, ge=0, description="Rises every 20 s while a canary has a weight between 0 and 100.")
    bumped_at: datetime | None = Field(default=None, description="When the operator last raised the counter.")


class Rejection(ApiModel):
    """A revision that was taken back."""

    revision: RevisionName = Field(description="The revision.")
    reason: Annotated[str, Field(max_length=64)] = Field(description="Cause, in PascalCase.")
    message: ShortText = Field(description="What was seen.")
    time: datetime = Field(description="When.")


class Drain(ApiModel):
    """An old stable revision that keeps its conversations for a while."""

    revision: RevisionName = Field(description="The revision.")
    until: datetime = Field(description="When its conversations move.")


class BudgetHold(ApiModel):
    """A canary that has spent its share of a day's budget."""

    day: Annotated[str, Field(max_length=16)] = Field(description="Day in the budget's zone, such as 2026-11-25.")
    held: bool = Field(default=True, description="Whether it is kept at weight 0.")
    released: bool = Field(default=False, description="Whether a person lets it go on, on that day.")


MAX_COUNTED_TEXT = 16_003
"""2,000 hashes of 8 characters, and the number of halvings before them."""


class AnalysisLedger(ApiModel):
    """Progress of the analysis, so that a new leader neither loses nor doubles an observation."""

    read_until: int = Field(ge=0, description="Unix time in s: observations of slots before it are in the evidence.")
    started_at: datetime = Field(description="When the analysis of this step began.")
    evidence: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=8)] = Field(
        default={}, description="State of the evidence by question, versioned JSON."
    )
    users: Annotated[str, Field(max_length=MAX_COUNTED_TEXT)] = Field(
        default="", description="Hashes of users that have counted, and how often they were halved."
    )
    later: Annotated[str, Field(max_length=MAX_COUNTED_TEXT)] = Field(
        default="", description="Hashes of conversations and users that have counted with a later turn."
    )
    inconclusive: bool = Field(default=False, description="Whether maxDuration passed without a verdict.")


class RolloutLedger(ApiModel):
    """Where the rollout stands. Only the operator reads and writes it."""

    stable_available: bool = Field(default=False, description="Whether stable was available once.")
    step_index: int = Field(default=0, ge=0, description="Index of the present step.")
    steps_hash: Annotated[str, Field(max_length=64)] = Field(default="", description="Hash of the steps in force.")
    started_at: datetime | None = Field(default=None, description="When the rollout of the canary began.")
    step_since: datetime | None = Field(default=None, description="When the present step began to hold.")
    progress_at: datetime | None = Field(default=None, description="When progress was last seen, for progressDeadline.")
    progress_ready: int = Field(
        default=0, ge=0, description="Ready pods of the awaited revision, when progress was last seen."
    )
    available_at: int = Field(
        default=0, ge=0, description="Most pods of the canary that were wanted, and ready, at once in this rollout."
    )
    canary_drain: Drain | None = Field(
        default=None, description="Until when the canary drained, before it was tried again."
    )
    promote_full: bool = Field(default=False, description="Whether the remaining steps are skipped.")
    undo_to: RevisionName | None = Field(
        default=None, description="Revision that `undo` asked for, until the spec changes."
    )
    rejected: Rejection | None = Field(
        default=None, description="Revision that is not tried again until the spec changes or `retry`."
    )
    last_rollback: Rejection | None = Field(default=None, description="What went wrong last time.")
    history: Annotated[tuple[RevisionName, ...], Field(max_length=51)] = Field(
        default=(), description="Promoted revisions, newest first."
    )
    draining: Annotated[tuple[Drain, ...], Field(max_length=16)] = Field(
        default=(), description="Old stable revisions that keep conversations."
    )
    analysis: AnalysisLedger | None = Field(default=None, description="Progress of the analysis.")
    budget_hold: BudgetHold | None = Field(default=None, description="Why the canary is kept at weight 0 for a day.")
    command: ObservedCommand | None = Field(default=None, description="The last command and what became of it.")


class JwtRule(ApiModel):
    """Tokens of one issuer, of which gateways check the signature and take the user for the split."""

    issuer: Annotated[str, Field(min_length=1, max_length=512)] = Field(description="Claim `iss` of its tokens.")
    audiences: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(min_length=1, max_length=16)
    ] = Field(description="A token must name one of them in claim `aud`.")
    jwks: Annotated[str, Field(min_length=2, max_length=32_768)] = Field(
        description="Its public keys, a JSON Web Key Set."
    )


class AgentRouteSpec(ApiModel):
    """What gateways must do for one agent."""

    serial: int = Field(ge=1, description="Rises with every change of what gateways must do; they acknowledge it.")
    port: int = Field(
        ge=1024, le=65535, description="Port of the agent's listener on every gateway pod of the namespace."
    )
    epoch: int = Field(ge=0, description="One per rollout; salts the split and marks new conversations.")
    suspended: bool = Field(default=False, description="Whether new runs are refused.")
    description: Annotated[str, Field(max_length=1024)] = Field(
        default="", description="What the agent is for, as the front door lists it."
    )
    jwt: JwtRule | None = Field(default=None, description="Bearer tokens that the agent takes; none: it takes none.")
    api_keys: bool = Field(
        default=False, description="Whether the agent takes API keys. The runtime checks them; gateways hold none."
    )
    stickiness: Stickiness = Field(default=Stickiness.CONVERSATION, description="Who keeps a revision.")
    revisions: Annotated[
        tuple[RouteRevision, ...],
        Field(
            max_length=20, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default=(), description="Revisions; the weights sum to 100, or there is none.")
    lease: Lease = Field(default=Lease(), description="Proof that the operator still watches a canary.")
    rollout: RolloutLedger = Field(
        default=RolloutLedger(), description="Where the rollout stands; only the operator uses it."
    )


class AgentRoute(ApiModel):
    """Made and written only by the operator; gateways watch it. One per AgentDeployment, of the same name."""

    api_version: Annotated[str, Field(max_length=64)] = Field(description="greylag.dev/v1alpha1")
    kind: Annotated[str, Field(max_length=64)] = Field(description="AgentRoute")
    metadata: dict[str, Any] = Field(description="Standard object metadata.")
    spec: AgentRouteSpec = Field(description="What gateways must do for one agent.")
