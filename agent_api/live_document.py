"""The document of what applies live: the operator rewrites it, runtime pods read it again when the file changes.

It is the only way from the operator to the ledger: after the store lost its data, `ledger.seed` tells what was spent.
"""

from __future__ import annotations

from pydantic import Field

from agent_api.meta import ApiModel
from agent_api.v1alpha1.budgets import OnExceeded

LIVE_KEY = "live.json"
LIVE_DIRECTORY = "/etc/greylag-live"
LIVE_PATH = f"{LIVE_DIRECTORY}/{LIVE_KEY}"


class BudgetsDocument(ApiModel):
    """Limits in micro-dollars; None is no limit."""

    request_micro: int | None = None
    request_tokens: int | None = None
    user_daily_micro: int | None = None
    daily_micro: int | None = None
    canary_share_percent: int = 20
    time_zone: str = "UTC"
    on_exceeded: OnExceeded = OnExceeded.REJECT


class RateLimitsDocument(ApiModel):
    """Limits over all replicas; None is no limit."""

    requests_per_minute: int | None = None
    per_user_per_minute: int | None = None
    max_concurrent: int | None = None


class JwtDocument(ApiModel):
    """Tokens of one issuer."""

    issuer: str
    audiences: tuple[str, ...]
    jwks: str


class AccessDocument(ApiModel):
    """Who may ask. With `api_keys`, the mounted Secret holds a file a user; nothing set: everybody."""

    api_keys: bool = False
    jwt: JwtDocument | None = None


class LedgerDocument(ApiModel):
    """What the operator knows of the ledger: enough to tell a store that lost its data from a new one."""

    epoch: str = Field(default="", description="Random id of the ledger that `spent_micro` is of; empty: none yet.")
    sequence: int = Field(default=0, ge=0, description="Sequence of the ledger when `spent_micro` was read.")
    day: str = Field(default="", description="Day in the budget's zone that `spent_micro` is of, such as 2026-11-25.")
    spent_micro: int = Field(default=0, ge=0, description="Spent and held on that day.")
    seed: str = Field(
        default="", description="Epoch that the ledger is to begin with `spent_micro`, once `epoch` was found lost."
    )


class LiveDocument(ApiModel):
    """Everything that applies without a restart."""

    version: int = Field(default=1, ge=1, le=1)
    budgets: BudgetsDocument = BudgetsDocument()
    rate_limits: RateLimitsDocument = RateLimitsDocument()
    access: AccessDocument = AccessDocument()
    ledger: LedgerDocument = LedgerDocument()
    canary_revision: str = Field(default="", description="Revision whose spend counts to the canary's share.")
