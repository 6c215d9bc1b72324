"""Status of an AgentDeployment: a report for people and tools, never read back as a command."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agent_api.meta import ApiModel, Condition, RevisionName, ShortText

Amount = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?$")]
"""Dollars as a decimal string."""


class Phase(StrEnum):
    """One word for the agent's state; maps one to one to Argo CD health."""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    DEGRADED = "Degraded"


class Verdict(StrEnum):
    """What the analysis says of a canary."""

    PASS = "Pass"
    FAIL = "Fail"
    INCONCLUSIVE = "Inconclusive"
    INSUFFICIENT_DATA = "InsufficientData"


class CommandResult(StrEnum):
    """What became of a command."""

    DONE = "Done"
    REFUSED = "Refused"
    IGNORED = "Ignored"


class ObservedCommand(ApiModel):
    """The last command seen in the annotation greylag.dev/command."""

    id: Annotated[str, Field(max_length=128)] = Field(description="Id that followed the verb.")
    verb: Annotated[str, Field(max_length=64)] = Field(description="Verb, such as promote.")
    result: CommandResult = Field(description="Done, Refused or Ignored.")
    message: ShortText = Field(description="What was done, or why not.")


class RevisionTraffic(ApiModel):
    """Share of new conversations of one revision."""

    revision: RevisionName = Field(description="Name of the revision.")
    weight: int = Field(ge=0, le=100, description="Percent of new conversations.")
    verified: bool = Field(description="Whether every ready gateway replica has confirmed it.")


class MetricReport(ApiModel):
    """One comparison, as it stands."""

    name: Annotated[str, Field(max_length=64)] = Field(description="Metric.")
    verdict: Verdict = Field(description="Verdict of this metric.")
    canary: Annotated[str, Field(max_length=32)] = Field(description="Estimate of the canary.")
    stable: Annotated[str, Field(max_length=32)] = Field(description="Estimate of stable.")
    canary_requests: int = Field(
        ge=0, description="Conversations (users, with that stickiness) of the canary that count."
    )
    stable_requests: int = Field(ge=0, description="Conversations (users, with that stickiness) of stable that count.")
    message: ShortText = Field(description="Interval, evidence in percent of the bar, forecast.")


class AnalysisReport(ApiModel):
    """The analysis, as it stands."""

    verdict: Verdict = Field(description="Verdict over all metrics.")
    message: ShortText = Field(description="Why.")
    metrics: Annotated[
        tuple[MetricReport, ...],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = Field(default=(), description="One entry a metric.")
    behind_seconds: int | None = Field(
        default=None, ge=0, description="Age of the oldest run in flight that the evidence waits for, in steps of 30 s."
    )


class LastRollback(ApiModel):
    """What went wrong last time."""

    revision: RevisionName = Field(description="The revision that was taken back.")
    reason: Annotated[str, Field(max_length=64)] = Field(description="Cause, in PascalCase.")
    message: ShortText = Field(description="What was seen.")
    time: datetime = Field(description="When.")


class Spend(ApiModel):
    """What the agent spent on one day, settled and held; written in steps of 5 % of the day's budget."""

    day: Annotated[str, Field(max_length=16)] = Field(description="Day in the budget's zone, such as 2026-11-25.")
    today_usd: Amount = Field(alias="todayUSD", description="Dollars spent on that day.")
    remaining_usd: Amount | None = Field(
        default=None, alias="remainingUSD", description="Dollars left of the day's budget. Unset: it has none."
    )
    canary_usd: Amount | None = Field(
        default=None, alias="canaryUSD", description="Of todayUSD, dollars spent by the canary."
    )
    as_of: datetime = Field(description="When this was so.")


class AgentDeploymentStatus(ApiModel):
    """What the operator observed."""

    observed_generation: int | None = Field(default=None, description="Generation this status was computed from.")
    phase: Phase | None = Field(default=None, description="Healthy, Progressing, Paused or Degraded.")
    message: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None, description="One line: what happens, and what to do."
    )
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = Field(default=(), description="Ready, Available, Progressing, Reconciling, Stalled and others.")
    stable_revision: RevisionName | None = Field(default=None, description="Revision that serves.")
    canary_revision: RevisionName | None = Field(default=None, description="Revision that is being rolled out.")
    rejected_revision: RevisionName | None = Field(
        default=None, description="Revision that was taken back and is not tried again."
    )
    last_rollback: LastRollback | None = Field(default=None, description="What went wrong last time.")
    traffic: Annotated[
        tuple[RevisionTraffic, ...],
        Field(
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["revision"]},
        ),
    ] = Field(default=(), description="Shares of new conversations.")
    canary_weight: int | None = Field(
        default=None, ge=0, le=100, description="Percent of new conversations at the canary."
    )
    current_step_index: int | None = Field(default=None, ge=0, description="Index of the present step, from 0.")
    step: Annotated[str, Field(max_length=16)] | None = Field(
        default=None, description="Present step of all, such as 2/6."
    )
    steps_hash: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="Hash of the steps in force."
    )
    analysis: AnalysisReport | None = Field(default=None, description="The analysis, while a canary runs.")
    spend: Spend | None = Field(default=None, description="What was spent today, while money is counted.")
    replicas: int | None = Field(default=None, ge=0, description="Pods of all revisions that serve.")
    ready_replicas: int | None = Field(default=None, ge=0, description="Ready pods of the stable revision.")
    ready: Annotated[str, Field(max_length=16)] | None = Field(
        default=None, description="Ready of wanted pods of stable, such as 2/2."
    )
    selector: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="Label selector of the pods, for /scale."
    )
    observed_command: ObservedCommand | None = Field(
        default=None, description="The last command and what became of it."
    )
    url: Annotated[str, Field(max_length=512)] | None = Field(
        default=None, description="Where the agent is reached in the cluster."
    )
