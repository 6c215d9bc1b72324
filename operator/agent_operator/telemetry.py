"""Logs as JSON lines, and metrics of the operator."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from agent_api.v1alpha1.status import Phase

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def configure_logging(level: str) -> None:
    """Send structlog and the libraries' logs to stdout as JSON lines."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    renderer: list[Any] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=renderer))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access", "kubernetes", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Telemetry:
    """Metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge("agent_operator_leader", "1 while this replica leads", registry=self.registry)
        self.queue_depth = Gauge("agent_operator_queue_depth", "Keys that wait for a worker", registry=self.registry)
        self._seconds = Histogram(
            "agent_operator_reconcile_seconds",
            "Time of one reconcile",
            ["kind"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._errors = Counter(
            "agent_operator_reconcile_errors_total", "Failed reconciles", ["kind", "error"], registry=self.registry
        )
        self._notes = Counter("agent_operator_events_total", "Events by reason", ["reason"], registry=self.registry)
        self._phase = Gauge(
            "agent_operator_agent_phase",
            "1 for the phase an agent is in",
            ["namespace", "agent", "phase"],
            registry=self.registry,
        )
        self._weight = Gauge(
            "agent_operator_canary_weight_percent",
            "Weight of the canary",
            ["namespace", "agent"],
            registry=self.registry,
        )
        self._running = 0
        self._progress = perf_counter()

    @contextmanager
    def reconcile(self, kind: str) -> Iterator[None]:
        """Time one reconcile and count its failure."""
        began = perf_counter()
        if not self._running:
            self._progress = began
        self._running += 1
        try:
            yield
        except Exception as error:
            self._errors.labels(kind, type(error).__name__).inc()
            raise
        finally:
            self._running -= 1
            self._progress = perf_counter()
            self._seconds.labels(kind).observe(self._progress - began)

    def standstill(self) -> float:
        """Seconds since a reconcile last ended, while there are some; 0 while there is none."""
        return perf_counter() - self._progress if self._running else 0.0

    def count(self, reason: str) -> None:
        """Count an Event."""
        self._notes.labels(reason).inc()

    def observe(self, agent: tuple[str, str], status: dict[str, Any]) -> None:
        """Show an agent's phase and weight."""
        for phase in Phase:
            self._phase.labels(*agent, phase.value).set(status.get("phase") == phase.value)
        self._weight.labels(*agent).set(status.get("canaryWeight", 0))

    def forget(self, agent: tuple[str, str]) -> None:
        """Drop the series of an agent that is gone."""
        for phase in Phase:
            self._drop(self._phase, *agent, phase.value)
        self._drop(self._weight, *agent)

    @staticmethod
    def _drop(gauge: Gauge, *labels: str) -> None:
        try:
            gauge.remove(*labels)
        except KeyError:
            return
