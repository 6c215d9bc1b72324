"""Figures about the gateway itself, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One registry per process."""

    def __init__(self) -> None:
        """Register every figure."""
        self.registry = CollectorRegistry()
        self.applied_serial = Gauge(
            "agent_gateway_applied_serial", "Newest serial in force.", ["agent"], registry=self.registry
        )
        self.lease_expired = Gauge(
            "agent_gateway_lease_expired", "Whether the canary lost its share.", ["agent"], registry=self.registry
        )
        self.publication_seconds = Histogram(
            "agent_gateway_publication_seconds",
            "From the begin of a publication to its confirmation by Envoy.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.rejected = Counter(
            "agent_gateway_rejected", "Configurations that did not come in force.", ["agent"], registry=self.registry
        )
        self.watch_restarts = Counter(
            "agent_gateway_watch_restarts", "Watches that were lost and begun anew.", ["kind"], registry=self.registry
        )
        self.failures = Counter(
            "agent_gateway_failures", "Runs that failed without an answer of the runtime.", registry=self.registry
        )

    def forget_agent(self, agent: str) -> None:
        """Drop the series of an agent that is gone."""
        for series in (self.applied_serial, self.lease_expired, self.rejected):
            series.remove_by_labels({"agent": agent})
