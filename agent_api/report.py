"""What a runtime pod tells the operator of the state that all pods share, as `GET /report` answers it."""

from __future__ import annotations

from pydantic import Field

from agent_api.meta import ApiModel

REPORT_PATH = "/report"


class StoreReport(ApiModel):
    """Whether the store can be used."""

    reachable: bool = Field(description="Whether it answered last.")
    was_reached: bool = Field(description="Whether it answered this process ever: until then the pod is not ready.")
    reason: str = Field(default="", description="Why it cannot be used; holds no secret.")


class BreakerReport(ApiModel):
    """One model endpoint that is left alone."""

    model: str
    seconds: float = Field(ge=0, description="How long still.")


class SpendReport(ApiModel):
    """The ledger of the day, in micro-dollars."""

    day: str = Field(description="Day in the budget's zone, such as 2026-11-25.")
    spent_micro: int = Field(ge=0, description="Settled and held by the agent.")
    canary_micro: int = Field(ge=0, description="Of it, by the canary of the present epoch.")
    canary_revision: str = Field(default="", description="Revision that `canary_micro` is of; empty: not said.")
    epoch: str = Field(description="Random id of the ledger.")
    sequence: int = Field(ge=0, description="Rises with every change of the ledger.")


class RuntimeReport(ApiModel):
    """State of one pod and of what it shares."""

    instance: str
    store: StoreReport | None = Field(default=None, description="None: the pod has no store.")
    breakers: tuple[BreakerReport, ...] = Field(default=(), description="Those that are open.")
    spend: SpendReport | None = Field(default=None, description="None: no money is counted, or the ledger was lost.")
    ledger_lost: bool = Field(default=False, description="Whether the store lost its data: money is refused.")
    budget_exhausted: bool = Field(default=False, description="Whether the day's budget is used up.")
    tools_unavailable: tuple[str, ...] = Field(default=(), description="Sources of tools that do not answer.")
