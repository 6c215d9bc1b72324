"""Traces of runs: run, iteration, model call, tool call; sent by OTLP/HTTP as the OTEL_* environment says."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracer, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from agent_runtime.telemetry.export import PausingExporter
from agent_runtime.telemetry.spans import IterationSpan, RunSpan, SpanPlan, ToolSpan, current_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AttributeValue

    from agent_api.runtime_document import EndpointDocument

EXPORT_TIMEOUT_SECONDS = 3.0
CLOSE_SECONDS = 5.0
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TIMEOUT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_PROVIDERS = {
    "openai.com": "openai",
    "azure.com": "azure.ai.openai",
    "anthropic.com": "anthropic",
    "mistral.ai": "mistral_ai",
    "groq.com": "groq",
    "deepseek.com": "deepseek",
    "googleapis.com": "gcp.gemini",
    "x.ai": "x_ai",
}
"""Names that the conventions give to providers, by the end of their host."""

_propagator = TraceContextTextMapPropagator()
_log = structlog.get_logger("agent_runtime.tracing")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends the spans; `instance` is the pod."""

    agent: str
    namespace: str
    revision: str
    instance: str


class Tracing:
    """Opens spans. Without a provider they are nobody's, cost next to nothing, and only pass the caller's trace on."""

    def __init__(
        self,
        identity: Identity,
        provider: TracerProvider | None = None,
        capture: Callable[[str], str] | None = None,
    ) -> None:
        self._provider = provider
        self._tracer: Tracer = NoOpTracer() if provider is None else provider.get_tracer("greylag.agent_runtime")
        self._capture = capture
        self._run_name = f"invoke_agent {identity.agent}"
        # On the span of the run only: for those below it the resource says the same, and each attribute costs 5 us.
        self._agent: dict[str, AttributeValue] = {
            "gen_ai.agent.name": identity.agent,
            "gen_ai.agent.version": identity.revision,
        }

    @property
    def on(self) -> bool:
        """Whether spans are sent anywhere."""
        return self._provider is not None

    def run(self, *, request_id: str, conversation: str, parent: Mapping[str, str]) -> RunSpan:
        """Span of a whole run; `conversation` is its hash, `parent` the headers of the caller's request."""
        attributes: dict[str, AttributeValue] = {
            **self._agent,
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": conversation,
            "greylag.request_id": request_id,
        }
        context = _propagator.extract(_trace_headers(parent), Context())
        return RunSpan(SpanPlan(self._tracer, self._run_name, attributes, parent=context))

    def iteration(self, number: int) -> IterationSpan:
        """Span of one turn of the loop, counted from 1."""
        return IterationSpan(SpanPlan(self._tracer, "iteration", {"greylag.iteration": number}))

    def plan_model_call(self, endpoint: EndpointDocument) -> SpanPlan:
        """What the spans of an endpoint begin with: the same for every call."""
        address = urlsplit(endpoint.base_url)
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider_of(address.hostname or ""),
            "gen_ai.request.model": endpoint.model,
            "gen_ai.request.max_tokens": endpoint.max_output_tokens,
            "gen_ai.request.stream": True,
            "server.address": address.hostname or "",
        }
        if address.port is not None:
            attributes["server.port"] = address.port
        if endpoint.temperature is not None:
            attributes["gen_ai.request.temperature"] = endpoint.temperature
        name = f"chat {endpoint.model}"
        return SpanPlan(self._tracer, name, attributes, SpanKind.CLIENT, capture=self._capture)

    def tool_call(self, *, name: str, call_id: str) -> ToolSpan:
        """Span of one call of a tool that exists; the name is that of the policy, <source>.<tool>."""
        attributes: dict[str, AttributeValue] = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": call_id,
        }
        return ToolSpan(SpanPlan(self._tracer, f"execute_tool {name}", attributes, capture=self._capture))

    def inject(self) -> dict[str, str]:
        """Headers that pass the trace on: that of the innermost open span, or what the caller sent while it is off."""
        headers: dict[str, str] = {}
        _propagator.inject(headers, current_context())
        return headers

    async def close(self) -> None:
        """Send what is held back, for CLOSE_SECONDS at most."""
        if self._provider is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.to_thread(self._provider.shutdown)
        except TimeoutError:
            _log.warning("the last spans were not sent in time", seconds=CLOSE_SECONDS)


def open_tracing(
    identity: Identity,
    environment: Mapping[str, str] = os.environ,
    capture: Callable[[str], str] | None = None,
) -> Tracing:
    """Tracing as the standard environment says: off without an endpoint.

    Text of questions, answers and tools is kept only if `capture`, which redacts it, is given. The processor's queue is
    bounded (OTEL_BSP_MAX_QUEUE_SIZE, 2048 by default); spans beyond it are dropped.
    """
    if not _wanted(environment):
        return Tracing(identity)
    resource = Resource.create(
        {
            "service.name": environment.get("OTEL_SERVICE_NAME") or identity.agent,
            "service.namespace": identity.namespace,
            "service.version": identity.revision,
            "service.instance.id": identity.instance,
        }
    )
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    timeout = None if _first(environment, _TIMEOUT_VARIABLES) else EXPORT_TIMEOUT_SECONDS
    try:
        provider.add_span_processor(BatchSpanProcessor(PausingExporter(OTLPSpanExporter(timeout=timeout))))
    except ValueError as error:
        # Agents answer without traces rather than not at all.
        _log.error("no traces: a variable OTEL_* is wrong", cause=str(error))
        return Tracing(identity)
    return Tracing(identity, provider, capture)


def provider_of(host: str) -> str:
    """Name of the provider at a host: the one of the conventions, else the host itself."""
    return next((name for end, name in _PROVIDERS.items() if host == end or host.endswith(f".{end}")), host)


def _wanted(environment: Mapping[str, str]) -> bool:
    if _first(environment, _ENDPOINT_VARIABLES) is None or _truth(environment.get("OTEL_SDK_DISABLED")):
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "otlp":
        return False
    protocol = _first(environment, _PROTOCOL_VARIABLES) or _PROTOCOL
    if protocol != _PROTOCOL:
        _log.warning("spans are sent by http/protobuf only", asked=protocol)
    return True


def _truth(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1")


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)


def _trace_headers(headers: Mapping[str, str]) -> dict[str, str]:
    # Of the caller's headers only these two: baggage may hold what no provider of models is to see.
    return {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
