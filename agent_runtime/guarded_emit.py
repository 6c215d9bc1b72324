"""The sink of a run's events behind the output guard."""

from __future__ import annotations

from dataclasses import dataclass, replace
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


@dataclass(slots=True)
class _Answer:
    """The text of one model call: what was shown of it, and the guard that holds the rest back."""

    stream: GuardedStream | None = None
    text: str = ""

    def take_back(self) -> bool:
        """Forget an answer that broke off; False if a part of it was shown."""
        if self.text:
            return False
        self.stream = None
        return True


class GuardedEmit:
    """Sink in front of the caller's: text goes through the output guard, tools are counted."""

    def __init__(self, emit: EventSink, record: RunRecord, guard: OutputGuard, metrics: RuntimeMetrics) -> None:
        self._emit = emit
        self._record = record
        self._guard = guard
        self._metrics = metrics
        self._answer = _Answer()
        self._last = ""
        if record.run is not None:
            # Not a method of this sink, which knows the record: a cycle would leave every run to the collector.
            record.run.take_back = self._answer.take_back

    async def __call__(self, event: Event, /) -> None:
        """Pass an event on."""
        if isinstance(event, TextDelta):
            if self._answer.stream is None:
                self._answer.stream = self._guard.stream()
            await self._show(self._answer.stream.feed(event.text))
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
        answer = self._answer
        if answer.stream is not None:
            rest = answer.stream.finish()
            self._count_redactions(answer.stream)
            await self._show(rest)
            self._last = answer.text
            answer.stream, answer.text = None, ""

    async def _show(self, text: str) -> None:
        if text:
            self._answer.text += text
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
