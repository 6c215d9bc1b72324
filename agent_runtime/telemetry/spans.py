"""The spans of a run, named as the GenAI conventions of OpenTelemetry have them. They hold no text unless told to."""

from __future__ import annotations

import asyncio
import json
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id, set_span_in_context

from agent_runtime.llm.client import EndpointFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextvars import Token
    from types import TracebackType

    from opentelemetry.util.types import AttributeValue

    from agent_runtime.core.loop import Message, ToolCall
    from agent_runtime.llm.client import ModelAnswer

MAX_CONTENT_CHARACTERS = 16 * 1024
CANCELLED = "cancelled"
_MICRO = 1_000_000

# Not the context of OpenTelemetry itself: that one complains of a stream that another task closes than opened it.
_current: ContextVar[Context | None] = ContextVar("greylag_span", default=None)


def current_context() -> Context:
    """Context of the innermost open span of this task, or of what the caller sent."""
    return _current.get() or Context()


@dataclass(frozen=True, slots=True)
class SpanPlan:
    """What a span begins with; `capture` redacts text, and without it no text is kept."""

    tracer: Tracer
    name: str
    attributes: Mapping[str, AttributeValue]
    kind: SpanKind = SpanKind.INTERNAL
    capture: Callable[[str], str] | None = None
    parent: Context | None = None


class SpanScope:
    """One span, open while its block runs; an exception that leaves the block is its error, without its text."""

    def __init__(self, plan: SpanPlan) -> None:
        self._plan = plan
        self._span: Span | None = None
        self._token: Token[Context | None] | None = None

    def __enter__(self) -> Self:
        """Begin the span, below the one that is open in this task."""
        # An empty context is a parent too: that of a trace which begins here.
        parent = current_context() if self._plan.parent is None else self._plan.parent
        self._span = self._plan.tracer.start_span(self._plan.name, parent, self._plan.kind, self._plan.attributes)
        self._token = _current.set(set_span_in_context(self._span, parent))
        return self

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        """End the span."""
        if error is not None:
            self.failed(error_type_of(error))
        self.span.end()
        if self._token is not None:
            _leave(self._token)

    @property
    def span(self) -> Span:
        """The span; raises RuntimeError outside the block."""
        if self._span is None:
            raise RuntimeError("the span has not begun")
        return self._span

    def failed(self, error_type: str) -> None:
        """Mark the span as failed, by the name of the cause."""
        self.span.set_attribute("error.type", error_type)
        self.span.set_status(StatusCode.ERROR)

    def _keep_text(self, attribute: str, text: Callable[[Callable[[str], str]], str]) -> None:
        # The text is only made if it is wanted: it is long.
        if self._plan.capture is not None and self.span.is_recording():
            self.span.set_attribute(attribute, text(self._plan.capture)[:MAX_CONTENT_CHARACTERS])


class RunSpan(SpanScope):
    """The whole run."""

    @property
    def trace_id(self) -> str:
        """Id of the trace, 32 hexadecimal digits; empty if the run belongs to none."""
        context = self.span.get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else ""

    def ended(
        self, outcome: str, *, problem: str = "", tokens: int | None = None, cost_micro: int | None = None
    ) -> None:
        """Say what the run came to; `problem` is the type of a run without an answer."""
        found: dict[str, AttributeValue] = {"greylag.outcome": outcome}
        if tokens is not None:
            found["greylag.usage.total_tokens"] = tokens
        if cost_micro is not None:
            found["greylag.cost.usd"] = cost_micro / _MICRO
        self.span.set_attributes(found)
        if problem:
            self.failed(problem)


class IterationSpan(SpanScope):
    """One turn of the loop: a model call and the tools that it asks for."""


class ModelSpan(SpanScope):
    """One call to one endpoint."""

    def asked(self, messages: Iterable[Message]) -> None:
        """Keep what is sent, if text is kept."""
        self._keep_text(
            "gen_ai.input.messages",
            lambda redact: _written(_message(it.role, it.content, it.tool_calls, redact) for it in messages),
        )

    def answered(self, answer: ModelAnswer) -> None:
        """Note the answer."""
        span = self.span
        if not span.is_recording():
            return
        found: dict[str, AttributeValue] = {
            "gen_ai.response.model": answer.model,
            "gen_ai.response.finish_reasons": (answer.finish_reason,),
        }
        if answer.usage is not None:
            found["gen_ai.usage.input_tokens"] = answer.usage.input_tokens
            found["gen_ai.usage.output_tokens"] = answer.usage.output_tokens
            found["gen_ai.usage.cache_read.input_tokens"] = answer.usage.cached_tokens
        if answer.cost_micro is not None:
            found["greylag.cost.usd"] = answer.cost_micro / _MICRO
        span.set_attributes(found)
        self._keep_text(
            "gen_ai.output.messages",
            lambda redact: _written([_message("assistant", answer.text, answer.tool_calls, redact)]),
        )


class ToolSpan(SpanScope):
    """One call of a tool."""

    def ended(self, outcome: str, content: str = "") -> None:
        """Note what became of the call; any outcome but ok is its error."""
        self.span.set_attribute("greylag.tool.outcome", outcome)
        if outcome != "ok":
            self.failed(outcome)
        self._keep_text("gen_ai.tool.call.result", lambda redact: redact(content))

    def asked(self, arguments: str) -> None:
        """Keep the arguments, if text is kept."""
        self._keep_text("gen_ai.tool.call.arguments", lambda redact: redact(arguments))


def error_type_of(error: BaseException) -> str:
    """Name of a cause, from a bounded set: never its text."""
    if isinstance(error, EndpointFailed):
        return error.fault.kind
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return CANCELLED
    return type(error).__name__


def _leave(token: Token[Context | None]) -> None:
    try:
        _current.reset(token)
    except ValueError:
        return  # closed by another task, whose current span is its own


def _written(messages: Iterable[dict[str, object]]) -> str:
    return json.dumps(list(messages))


def _message(role: str, text: str, calls: Iterable[ToolCall], redact: Callable[[str], str]) -> dict[str, object]:
    parts: list[dict[str, str]] = [{"type": "text", "content": redact(text)}] if text else []
    parts += [
        {"type": "tool_call", "id": call.id, "name": call.name, "arguments": redact(call.arguments)} for call in calls
    ]
    return {"role": role, "parts": parts}
