"""Prometheus metrics of the process, in a registry of their own; labels take values from the document only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_api.observations import Outcome
    from agent_runtime.llm.client import ModelAnswer
    from agent_runtime.llm.retry import AttemptEnded

RUN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


class RuntimeMetrics:
    """Counts what runs and model calls come to."""

    def __init__(self, revision: str, in_flight: Callable[[], int]) -> None:
        self._revision = revision
        self._registry = CollectorRegistry()
        self._requests = self._counter("agent_requests", "Runs by outcome.", "outcome")
        self._seconds = Histogram(
            "agent_run_seconds",
            "Length of runs that count.",
            ["revision"],
            buckets=RUN_BUCKETS,
            registry=self._registry,
        ).labels(revision)
        self._attempts = self._counter("model_attempts", "Calls to a model endpoint by result.", "model", "result")
        self._fallbacks = self._counter("model_fallbacks", "Times that a model was given up for the next.", "model")
        self._tokens = self._counter("tokens", "Tokens as providers report them.", "model", "direction")
        Gauge("agent_runs_in_flight", "Runs that have begun and not ended.", registry=self._registry).set_function(
            in_flight
        )

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, ["revision", *labels], registry=self._registry)

    def run_ended(self, outcome: Outcome, seconds: float, *, counts: bool) -> None:
        """Note a run; `counts` is false for those that the verdict leaves out."""
        self._requests.labels(self._revision, outcome).inc()
        if counts:
            self._seconds.observe(seconds)

    def answered(self, answer: ModelAnswer) -> None:
        """Note the tokens of an answer."""
        if answer.usage is not None:
            self._tokens.labels(self._revision, answer.model, "input").inc(answer.usage.input_tokens)
            self._tokens.labels(self._revision, answer.model, "output").inc(answer.usage.output_tokens)

    def attempt_ended(self, attempt: AttemptEnded) -> None:
        """Note one call to an endpoint."""
        self._attempts.labels(self._revision, attempt.model, attempt.result).inc()

    def fell_back(self, model: str) -> None:
        """Note that a model was given up."""
        self._fallbacks.labels(self._revision, model).inc()

    def render(self) -> bytes:
        """Text exposition."""
        return generate_latest(self._registry)
