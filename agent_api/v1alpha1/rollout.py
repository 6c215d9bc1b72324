"""How a new revision takes over: steps, analysis, windows."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from agent_api.meta import ApiModel
from agent_api.quantities import Duration, Fraction, positive_durations


class Stickiness(StrEnum):
    """Who keeps a revision: a conversation, or a user with all conversations."""

    CONVERSATION = "Conversation"
    USER = "User"


class OnInconclusive(StrEnum):
    """What happens when the analysis has no verdict at maxDuration."""

    PAUSE = "Pause"
    ROLLBACK = "Rollback"
    PROMOTE = "Promote"


class MetricName(StrEnum):
    """What canary and stable are compared on."""

    ERROR_RATE = "errorRate"


class Pause(ApiModel):
    """Hold the rollout for a time, or until promoted by hand."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": positive_durations("duration")}}

    duration: Duration | None = Field(
        default=None, description="How long, counted from the step's begin. Unset: until `kubectl agent promote`."
    )


class Analyze(ApiModel):
    """Hold the rollout until the verdict."""


class Step(ApiModel):
    """One step of a rollout: exactly one of setWeight, pause and analyze."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "[has(self.setWeight), has(self.pause), has(self.analyze)].filter(x, x).size() == 1",
                    "message": "a step is exactly one of setWeight, pause and analyze",
                }
            ]
        }
    }

    set_weight: int | None = Field(
        default=None, ge=0, le=100, description="Percent of new conversations that the canary gets."
    )
    pause: Pause | None = Field(default=None, description="Hold for a duration, or until promoted.")
    analyze: Analyze | None = Field(default=None, description="Hold until the analysis passes.")


class AnalysisMetric(ApiModel):
    """One comparison of canary with stable."""

    name: MetricName = Field(description="What is compared.")
    max_increase: Fraction = Field(
        default="0.02", description='Most that the canary may be worse, as a share such as "0.02" (default).'
    )
    gating: bool = Field(
        default=True,
        description="Whether a Pass needs this metric's proof; it can fail the canary either way. Default true.",
    )


class Analysis(ApiModel):
    """The comparison of canary with stable."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": positive_durations("maxDuration")}}

    metrics: Annotated[
        list[AnalysisMetric],
        Field(
            min_length=1,
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field(
        default=[AnalysisMetric(name=MetricName.ERROR_RATE)],
        description="Metrics; default: errorRate with its defaults.",
    )
    min_samples: int = Field(
        default=50,
        ge=1,
        le=1_000_000,
        description="Fewest canary conversations (users, with that stickiness) in a step before a Pass. Default 50.",
    )
    max_duration: Duration = Field(default="1h", description="Longest analysis of one step. Default 1h.")
    on_inconclusive: OnInconclusive = Field(
        default=OnInconclusive.PAUSE,
        description="At maxDuration without a verdict: Pause (default), Rollback or Promote.",
    )


DEFAULT_STEPS = (
    Step(set_weight=10),
    Step(analyze=Analyze()),
    Step(set_weight=50),
    Step(analyze=Analyze()),
)


class Canary(ApiModel):
    """Steps of the canary and who sticks to it."""

    model_config = {
        "json_schema_extra": {
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.steps) || self.steps.all(i, step, !has(step.analyze)"
                    " || self.steps.exists(j, other, j < i && has(other.setWeight) && other.setWeight > 0))",
                    "message": "steps: analyze needs a setWeight of at least 1 before it, or the canary has no traffic",
                    "fieldPath": ".steps",
                },
                {
                    "rule": "!has(self.steps) || self.steps.all(i, step, !has(step.analyze)"
                    " || !self.steps.exists(j, whole, j < i && has(whole.setWeight) && whole.setWeight == 100"
                    " && !self.steps.exists(k, other, j < k && k < i && has(other.setWeight))))",
                    "message": "steps: analyze cannot follow setWeight 100, as stable has nothing left to compare with;"
                    " analyze at a lower weight, or leave the step out: after the last one the canary is promoted",
                    "fieldPath": ".steps",
                },
                {
                    "rule": "!has(self.analysis) || !has(self.analysis.metrics)"
                    " || self.analysis.metrics.exists(metric, !has(metric.gating) || metric.gating)"
                    " || (has(self.steps) && !self.steps.exists(step, has(step.analyze)))",
                    "message": "analysis.metrics: with gating: false for all of them an analyze step can never pass;"
                    " leave gating of one at true, or take analyze out of steps",
                    "fieldPath": ".analysis",
                },
            ]
        }
    }

    stickiness: Stickiness = Field(
        default=Stickiness.CONVERSATION,
        description="Conversation (default): a conversation keeps its revision; User: a user does.",
    )
    steps: Annotated[tuple[Step, ...], Field(max_length=50, json_schema_extra={"x-kubernetes-list-type": "atomic"})] = (
        Field(
            default=DEFAULT_STEPS,
            description="Steps in order; after the last one the canary is promoted. Default: 10 %, analyze, 50 %,"
            " analyze. Empty: promote once available.",
        )
    )
    analysis: Analysis = Field(default=Analysis(), description="The comparison of canary with stable.")


class Rollout(ApiModel):
    """How a new revision takes over. Live: a change needs no new revision."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": positive_durations("progressDeadline")}}

    canary: Canary = Field(default=Canary(), description="Canary steps and analysis.")
    conversation_drain: Duration = Field(
        default="1h",
        description="How long old conversations keep the old revision alive after a promotion. Default 1h.",
    )
    progress_deadline: Duration = Field(
        default="10m", description="Longest time without progress before a canary is taken back. Default 10m."
    )
    rollback_window: int = Field(
        default=3,
        ge=0,
        le=20,
        description="A revision among the last so many promoted ones takes over without steps. Default 3.",
    )
    revision_history_limit: int = Field(
        default=5, ge=0, le=50, description="How many old revisions are kept, scaled to zero. Default 5."
    )
