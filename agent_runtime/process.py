"""What one process is made of: the only place that puts the parts together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent_runtime.clock import SteadyClock
from agent_runtime.core.booking import Ledger
from agent_runtime.llm.chain import build_chain, open_http_client
from agent_runtime.llm.credentials import Credentials
from agent_runtime.telemetry.metrics import RuntimeMetrics

if TYPE_CHECKING:
    import httpx2

    from agent_api.runtime_document import RuntimeDocument
    from agent_runtime.llm.client import ModelClient
    from agent_runtime.settings import Settings

OVERDUE_MARGIN_SECONDS = 5.0
"""A run ends itself at its deadline; only one that is stuck is still there this much later."""


@dataclass(slots=True)
class Drain:
    """Whether the process is going away; set once, by the server."""

    begun: bool = False


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """Everything a route needs."""

    document: RuntimeDocument
    credentials: Credentials
    clock: SteadyClock
    ledger: Ledger
    metrics: RuntimeMetrics
    http: httpx2.AsyncClient
    model: ModelClient
    drain: Drain = field(default_factory=Drain)

    def unreadiness(self) -> list[str]:
        """Reasons why no gateway should send runs here, for the operator to show; empty if ready."""
        reasons = [
            f"Secret key for model {self.document.endpoints[position].model} (position {position}) {wrong}"
            for position, wrong in self.credentials.missing().items()
        ]
        return ["The process is terminating", *reasons] if self.drain.begun else reasons


def build_process(settings: Settings, document: RuntimeDocument) -> ProcessContext:
    """Put a process together."""
    clock = SteadyClock()
    overdue_after = document.timeout_seconds + OVERDUE_MARGIN_SECONDS
    ledger = Ledger(settings.pod_name, document.revision, clock.now(), overdue_after)
    metrics = RuntimeMetrics(document.revision, lambda: ledger.in_flight)
    credentials = Credentials(settings.credentials_directory, settings.credentials)
    http = open_http_client()
    model = build_chain(document, credentials, http, metrics.attempt_ended, metrics.fell_back)
    return ProcessContext(document, credentials, clock, ledger, metrics, http, model)
