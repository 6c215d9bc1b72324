"""A collector of traces: takes OTLP/HTTP on loopback, and keeps what it was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

WAIT_SECONDS = 20.0


@dataclass(frozen=True)
class SeenSpan:
    """One span as it arrived; ids are hexadecimal, a parent id is empty for a root."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool
    status_message: str
    events: tuple[str, ...]
    seconds: float


@dataclass
class OtlpSink:
    """What the collector was sent; `status` is what it answers, `delay` how long it takes for that."""

    endpoint: str = ""
    spans: list[SeenSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200
    delay: float = 0.0
    requests: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to send here at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"}

    def named(self, beginning: str) -> list[SeenSpan]:
        """Spans whose names begin so."""
        return [span for span in self.spans if span.name.startswith(beginning)]

    def children(self, parent: SeenSpan) -> list[SeenSpan]:
        """Spans right below one."""
        return [span for span in self.spans if span.parent_id == parent.span_id]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; raises TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)

    async def until_spans(self, count: int) -> None:
        """Wait for so many spans."""
        await self.until(lambda: len(self.spans) >= count)

    async def handle(self, request: web.Request) -> web.Response:
        """Take one export."""
        body = await request.read()
        self.requests += 1
        await asyncio.sleep(self.delay)
        if self.status == 200:
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            self.spans += _read(body)
        content = ExportTraceServiceResponse().SerializeToString()
        return web.Response(body=content, status=self.status, content_type="application/x-protobuf")


@asynccontextmanager
async def otlp_sink(port: int = 0) -> AsyncIterator[OtlpSink]:
    """Run a collector while the block does."""
    sink = OtlpSink()
    async with served(sink.handle, "/v1/traces", port) as url:
        sink.endpoint = url
        yield sink


@asynccontextmanager
async def served(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], path: str, port: int = 0
) -> AsyncIterator[str]:
    """Serve POSTs to one path on loopback; gives the URL without the path."""
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post(path, handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _read(body: bytes) -> list[SeenSpan]:
    return [
        _seen(span, _attributes(resource.resource.attributes))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _seen(span: Span, resource: dict[str, Any]) -> SeenSpan:
    return SeenSpan(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        attributes=_attributes(span.attributes),
        resource=resource,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        status_message=span.status.message,
        events=tuple(event.name for event in span.events),
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
