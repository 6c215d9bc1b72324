"""What an agent may spend and how often it may be asked. Live: a change restarts no pod."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue

from agent_api.meta import ApiModel
from agent_api.quantities import Money

TimeZoneName = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$")]


def _positive_money(*names: str) -> list[JsonValue]:
    return [
        {
            "rule": f"!has(self.{name}) || self.{name}.matches('[1-9]')",
            "message": f"{name} must be more than 0",
            "fieldPath": f".{name}",
        }
        for name in names
    ]


class OnExceeded(StrEnum):
    """What happens to a run that does not fit."""

    REJECT = "Reject"
    DOWNGRADE = "Downgrade"


class RequestBudget(ApiModel):
    """Most that one run may cost, over all its model calls."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": _positive_money("costUSD")}}

    cost_usd: Money | None = Field(default=None, alias="costUSD", description='Dollars of one run, such as "0.50".')
    tokens: int | None = Field(
        default=None, ge=1, le=1_000_000_000, description="Tokens of one run, in both directions."
    )


class DailyBudget(ApiModel):
    """Most that may be spent in one day of the budget's time zone."""

    model_config = {"json_schema_extra": {"x-kubernetes-validations": _positive_money("costUSD")}}

    cost_usd: Money = Field(alias="costUSD", description='Dollars of one day, such as "100".')


class Budgets(ApiModel):
    """What may be spent. The worst case is reserved before each model call and settled after it."""

    per_request: RequestBudget = Field(default=RequestBudget(), description="Limit of one run.")
    per_user_daily: DailyBudget | None = Field(
        default=None, description="Limit of one user and day; anonymous callers share one user."
    )
    daily: DailyBudget | None = Field(default=None, description="Limit of the agent and day, over all revisions.")
    canary_share_percent: int = Field(
        default=20,
        ge=1,
        le=100,
        description="Share of the daily limit that a canary may spend before its weight goes to 0. Default 20.",
    )
    time_zone: TimeZoneName = Field(
        default="UTC", description="IANA name of the zone whose midnight begins a day, such as Europe/Berlin."
    )
    on_exceeded: OnExceeded = Field(
        default=OnExceeded.REJECT,
        description="Reject (default), or Downgrade: go on with the cheapest listed model that still fits.",
    )


class RateLimits(ApiModel):
    """How often the agent may be asked, over all replicas."""

    requests_per_minute: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Runs a minute of the agent."
    )
    per_user_per_minute: int | None = Field(default=None, ge=1, le=10_000_000, description="Runs a minute of one user.")
    max_concurrent: int | None = Field(default=None, ge=1, le=100_000, description="Runs at the same time.")
