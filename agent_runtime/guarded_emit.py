"""The sink of a run's events behind the output guard."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson

from agent_runtime.core.events import TextDelta, ToolCalled, ToolEnded
from agent_runtime.guards.blocked import GuardBlocked
from agent_runtime.tools.toolbox import ToolOutcome

if TYPE_CHECKING:
    from agent_runtime.core.events import Event, EventSink
    from agent_runtime.guards.output import GuardedStream, OutputGuard
    from agent_runtime.record import RunRecord
    from agent_runtime.telemetry.metrics import RuntimeMetrics

WITHHELD = "[withheld]"


class GuardedEmit:
    """Sink in front of the caller's: text goes through the output guard, tools are counted."""

    def __init__(self, emit: EventSink, record: RunRecord, guard: OutputGuard, metrics: RuntimeMetrics) -> None:
        self._emit = emit
        self._record = record
        self._guard = guard
        self._metrics = metrics
        self._stream: GuardedStream | None = None
        self._text = ""
        self._last = ""

    async def __call__(self, event: Event, /) -> None:
        """Pass an event on."""
        if isinstance(event, TextDelta):
            if self._stream is None:
                self._stream = self._guard.stream()
            await self._show(self._stream.feed(event.text))
            return
        await self._close()
        if isinstance(event, ToolCalled):
            # What the model said before it called a tool is no part of its answer.
            self._last = ""
            event = self._shown(event)
        if isinstance(event, ToolEnded):
            self._count(event)
        await self._emit(event)

    async def finish(self) -> str:
        """Pass on what was held back; answers the text of the last model call, as it was shown."""
        await self._close()
        return self._last

    def whole(self, text: str) -> str:
        """An answer that nobody saw arrive, as it may be shown."""
        stream = self._guard.stream()
        passed = stream.feed(text) + stream.finish()
        self._count_redactions(stream)
        return passed

    async def _close(self) -> None:
        if self._stream is not None:
            rest = self._stream.finish()
            self._count_redactions(self._stream)
            await self._show(rest)
            self._stream, self._last, self._text = None, self._text, ""

    async def _show(self, text: str) -> None:
        if text:
            self._text += text
            await self._emit(TextDelta(text))

    def _shown(self, event: ToolCalled) -> ToolCalled:
        """The call; without its arguments if they hold what must not be said, which is no reason not to make it."""
        text = event.arguments if isinstance(event.arguments, str) else orjson.dumps(event.arguments).decode()
        try:
            self._guard.check_arguments(text)
        except GuardBlocked as blocked:
            self._metrics.guard_blocked("output", blocked.rule)
            return replace(event, arguments=WITHHELD)
        return event

    def _count(self, event: ToolEnded) -> None:
        outcome = ToolOutcome(event.outcome)
        self._record.tool_calls += 1
        self._record.tool_failures += outcome.failure

    def _count_redactions(self, stream: GuardedStream) -> None:
        for kind, count in stream.counts.items():
            self._metrics.redacted(kind, count)
