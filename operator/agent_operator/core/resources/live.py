"""The ConfigMap of what applies live: runtime pods read it again, none restarts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from agent_api.live_document import (
    LIVE_KEY,
    AccessDocument,
    BudgetsDocument,
    JwtDocument,
    LedgerDocument,
    LiveDocument,
    RateLimitsDocument,
)
from agent_api.quantities import micro_dollars
from agent_api.v1alpha1.access import Access
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.budgets import Budgets, DailyBudget, RateLimits
from agent_operator.core.names import COMPONENT_LIVE, agent_labels
from agent_operator.core.resources.metadata import Manifest, make_metadata


def live_name(agent: str) -> str:
    """Name of an agent's live ConfigMap; no revision has it, as its last part is shorter than a hash."""
    return f"{agent}-live"


def make_live_document(spec: AgentDeploymentSpec, ledger: LedgerDocument, canary_revision: str) -> LiveDocument:
    """What applies without a restart; `canary_revision` is empty while there is no canary."""
    return LiveDocument(
        budgets=_budgets(spec.budgets),
        rate_limits=_rate_limits(spec.rate_limits),
        access=_access(spec.access),
        ledger=ledger,
        canary_revision=canary_revision,
    )


def make_live_config_map(agent: str, namespace: str, owner: Manifest, document: LiveDocument) -> Manifest:
    """ConfigMap that runtime pods mount; equal documents give equal bytes."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": make_metadata(live_name(agent), namespace, agent_labels(agent, COMPONENT_LIVE), owner),
        "data": {LIVE_KEY: document.model_dump_json(by_alias=True)},
    }


def read_live_document(config_map: Mapping[str, Any]) -> LiveDocument | None:
    """Document of a live ConfigMap; None if it is not one that `make_live_config_map` wrote, but was edited by hand."""
    data = config_map.get("data")
    text = data.get(LIVE_KEY) if isinstance(data, Mapping) else None
    if not isinstance(text, str):
        return None
    try:
        return LiveDocument.model_validate_json(text, extra="ignore")
    except ValidationError:
        return None


def _budgets(budgets: Budgets) -> BudgetsDocument:
    request = budgets.per_request
    return BudgetsDocument(
        request_micro=None if request.cost_usd is None else micro_dollars(request.cost_usd),
        request_tokens=request.tokens,
        user_daily_micro=_daily(budgets.per_user_daily),
        daily_micro=_daily(budgets.daily),
        canary_share_percent=budgets.canary_share_percent,
        time_zone=budgets.time_zone,
        on_exceeded=budgets.on_exceeded,
    )


def _daily(budget: DailyBudget | None) -> int | None:
    return None if budget is None else micro_dollars(budget.cost_usd)


def _rate_limits(limits: RateLimits) -> RateLimitsDocument:
    return RateLimitsDocument(
        requests_per_minute=limits.requests_per_minute,
        per_user_per_minute=limits.per_user_per_minute,
        max_concurrent=limits.max_concurrent,
    )


def _access(access: Access) -> AccessDocument:
    jwt = access.jwt
    return AccessDocument(
        api_keys=access.api_keys_secret_ref is not None,
        jwt=None if jwt is None else JwtDocument(issuer=jwt.issuer, audiences=tuple(jwt.audiences), jwks=jwt.jwks),
    )
