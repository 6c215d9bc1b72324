"""Sends spans to a collector, and leaves one that does not answer alone for a while."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

PAUSE_SECONDS = 15.0
_log = structlog.get_logger("agent_runtime.tracing")


class PausingExporter(SpanExporter):
    """Drops spans for a time after a failure, so that a collector that is down costs neither CPU nor log lines."""

    def __init__(self, exporter: SpanExporter, clock: Callable[[], float] = time.monotonic) -> None:
        self._exporter = exporter
        self._clock = clock
        self._paused_until: float | None = None
        self._dropped = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, or drop them; called by the processor's own thread."""
        if self._paused_until is not None and self._clock() < self._paused_until:
            self._dropped += len(spans)
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._tell_recovery()
        else:
            self._pause(len(spans))
        return result

    def shutdown(self) -> None:
        """Close the connection."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held back here."""
        return self._exporter.force_flush(timeout_millis)

    def _pause(self, lost: int) -> None:
        if self._paused_until is None:
            _log.warning("the collector of traces does not answer; spans are dropped until it does")
        self._dropped += lost
        self._paused_until = self._clock() + PAUSE_SECONDS

    def _tell_recovery(self) -> None:
        if self._paused_until is not None:
            _log.info("the collector of traces answers again", dropped=self._dropped)
        self._paused_until, self._dropped = None, 0
