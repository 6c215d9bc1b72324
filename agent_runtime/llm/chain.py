"""Puts the layers of a model call together: fallback over retry over breaker over budget over endpoint."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2
import structlog
from openai import DefaultAioHttpClient

from agent_api.v1alpha1.budgets import OnExceeded
from agent_runtime.llm.budgeted import BudgetedClient
from agent_runtime.llm.fallback import FallbackClient, Link
from agent_runtime.llm.openai_client import OpenAIClient
from agent_runtime.llm.retry import RetryingClient
from agent_runtime.telemetry.traced_client import TracedClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_api.live_document import LiveDocument
    from agent_api.runtime_document import EndpointDocument, RuntimeDocument
    from agent_runtime.core.faults import Fault
    from agent_runtime.llm.breaker import Breakers
    from agent_runtime.llm.client import ModelClient
    from agent_runtime.llm.credentials import Credentials
    from agent_runtime.money.ledger import SpendLedger
    from agent_runtime.money.pricing import ModelPrice
    from agent_runtime.telemetry.metrics import RuntimeMetrics
    from agent_runtime.telemetry.tracing import Tracing

_MILLION = 1_000_000
_PORTS = {"http": 80, "https": 443}
_log = structlog.get_logger("agent_runtime.llm")


def open_http_client() -> httpx2.AsyncClient:
    """Connections to all endpoints; timeouts are ours, and a redirect is an error: it would turn a POST into a GET."""
    return DefaultAioHttpClient(timeout=None, follow_redirects=False)


@dataclass(frozen=True, slots=True)
class ChainParts:
    """What the layers of a model call need; `prices` are those of the endpoints, in their order."""

    document: RuntimeDocument
    credentials: Credentials
    http: httpx2.AsyncClient
    prices: tuple[ModelPrice | None, ...]
    live: Callable[[], LiveDocument]
    ledger: SpendLedger | None
    breakers: Breakers
    metrics: RuntimeMetrics
    tracing: Tracing


def build_chain(parts: ChainParts) -> ModelClient:
    """Model client of a whole agent."""
    links = [_link(parts, position) for position in range(len(parts.document.endpoints))]

    def downgrade() -> bool:
        return parts.live().budgets.on_exceeded is OnExceeded.DOWNGRADE

    return FallbackClient(links, parts.metrics.fell_back, downgrade)


def _link(parts: ChainParts, position: int) -> Link:
    endpoint, price = parts.document.endpoints[position], parts.prices[position]
    bare = OpenAIClient(endpoint, position, parts.credentials, parts.http, parts.metrics.first_token)
    traced = TracedClient(bare, endpoint, parts.tracing, parts.metrics.call_ended)
    budgeted = BudgetedClient(endpoint, traced, price, parts.ledger, parts.live)
    client = RetryingClient(
        endpoint.model,
        parts.breakers.client(position, budgeted),
        parts.document.retry,
        hook=parts.metrics.attempt_ended,
        retried=parts.metrics.retried,
        gave_up=failure_log(endpoint),
        chance=random.random,
    )
    return Link(endpoint.model, client, price_rank(price))


def failure_log(endpoint: EndpointDocument) -> Callable[[Fault, int], None]:
    """Hook that writes why an endpoint did not answer, and where it is."""
    address = httpx2.URL(endpoint.base_url)
    where = {"host": address.host, "port": address.port or _PORTS.get(address.scheme)}

    def note(fault: Fault, attempts: int) -> None:
        _log.warning("model did not answer", model=endpoint.model, cause=str(fault), attempts=attempts, **where)

    return note


def price_rank(price: ModelPrice | None) -> float:
    """Order of models by price: what a million tokens in each direction cost; one without a price comes last."""
    return float("inf") if price is None else float(price.worst_case(_MILLION, _MILLION))
