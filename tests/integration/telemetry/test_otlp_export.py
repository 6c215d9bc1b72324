"""Spans on their way to a collector: a real one, one that is down, one that hangs, one that comes back."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from structlog.testing import capture_logs

from agent_runtime.telemetry import export
from agent_runtime.telemetry.tracing import CLOSE_SECONDS, Identity, open_tracing
from tests.support.otlp_sink import otlp_sink

IDENTITY = Identity("support", "team-a", "support-5c9f0a1b2d", "pod-1")


@pytest.fixture
def opened(monkeypatch):
    """Opens tracing as a process with this environment would."""
    # The library's own lines are muted by configure_logging, which these tests do not call.
    monkeypatch.setattr(logging.getLogger("opentelemetry"), "disabled", True)
    for name in ("opentelemetry.exporter.otlp.proto.http.trace_exporter", "opentelemetry.sdk._shared_internal"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)

    def start(environment, **options):
        for name, value in {"OTEL_BSP_SCHEDULE_DELAY": "20", **environment}.items():
            monkeypatch.setenv(name, value)
        return open_tracing(IDENTITY, environment, **options)

    return start


def one_run(tracing, number=1):
    with tracing.run(request_id=f"r-{number}", conversation="c0ffee", parent={}) as run:
        with tracing.iteration(1), tracing.tool_call(name="kb.search", call_id="call-1") as tool:
            tool.ended("ok")
        run.ended("ok", tokens=3)
        return run.trace_id


async def test_run_arrives_as_a_tree_with_the_identity_of_its_pod(opened, sink):
    tracing = opened({**sink.environment, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer abc"})
    trace_id = one_run(tracing)
    await sink.until_spans(3)
    await tracing.close()
    (run,) = sink.named("invoke_agent support")
    (iteration,) = sink.children(run)
    (tool,) = sink.children(iteration)
    assert tool.name == "execute_tool kb.search"
    assert {span.trace_id for span in sink.spans} == {trace_id}
    assert run.attributes["greylag.request_id"] == "r-1"
    assert run.resource["service.name"] == "support"
    assert run.resource["service.namespace"] == "team-a"
    assert run.resource["service.version"] == "support-5c9f0a1b2d"
    assert run.resource["service.instance.id"] == "pod-1"
    assert sink.headers[0]["Authorization"] == "Bearer abc"


async def test_names_of_the_standard_environment_win(opened, sink):
    tracing = opened(
        {**sink.environment, "OTEL_SERVICE_NAME": "chosen", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
    )
    one_run(tracing)
    await sink.until_spans(3)
    await tracing.close()
    assert sink.spans[0].resource["service.name"] == "chosen"
    assert sink.spans[0].resource["deployment.environment"] == "test"


async def test_closing_sends_what_is_held_back(opened, sink):
    tracing = opened({**sink.environment, "OTEL_BSP_SCHEDULE_DELAY": "60000"})
    one_run(tracing)
    await tracing.close()
    assert len(sink.spans) == 3


async def test_text_is_sent_redacted_and_only_if_it_is_asked_for(opened, sink):
    def redact(text):
        return text.replace("hunter2", "[gone]")

    for name, capture in (("off", None), ("on", redact)):
        tracing = opened(sink.environment, capture=capture)
        with tracing.tool_call(name=name, call_id="c") as tool:
            tool.ended("ok", "the password is hunter2")
        await tracing.close()
    (off,), (on,) = sink.named("execute_tool off"), sink.named("execute_tool on")
    assert "gen_ai.tool.call.result" not in off.attributes
    assert on.attributes["gen_ai.tool.call.result"] == "the password is [gone]"
    assert not any(b"hunter2" in body for body in sink.bodies)


async def test_collector_that_is_down_costs_runs_nothing_and_the_log_one_line(opened):
    async with otlp_sink() as sink:
        nowhere = sink.environment
    with capture_logs() as lines:
        tracing = opened({**nowhere, "OTEL_BSP_MAX_QUEUE_SIZE": "512", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "64"})
        slowest = 0.0
        for number in range(3000):
            begun = time.perf_counter()
            one_run(tracing, number)
            slowest = max(slowest, time.perf_counter() - begun)
            if number % 100 == 0:
                await asyncio.sleep(0)
        begun = time.monotonic()
        await tracing.close()
        closing = time.monotonic() - begun
    assert slowest < 0.5
    assert closing < CLOSE_SECONDS
    assert [line["event"] for line in lines] == [
        "the collector of traces does not answer; spans are dropped until it does"
    ]


async def test_collector_that_hangs_does_not_hold_up_the_end(opened, sink):
    sink.delay = 60
    tracing = opened(sink.environment)
    one_run(tracing)
    begun = time.monotonic()
    await tracing.close()
    assert time.monotonic() - begun < CLOSE_SECONDS + 1


async def test_collector_that_comes_back_is_used_again(opened, sink, monkeypatch):
    monkeypatch.setattr(export, "PAUSE_SECONDS", 0.05)
    sink.status = 400
    with capture_logs() as lines:
        tracing = opened(sink.environment)
        one_run(tracing)
        await sink.until(lambda: sink.requests >= 1)
        await sink.until(lambda: any("does not answer" in line["event"] for line in lines))
        sink.status = 200
        await asyncio.sleep(0.06)
        one_run(tracing)
        await sink.until_spans(3)
        await tracing.close()
    assert lines[-1]["event"] == "the collector of traces answers again"
    assert lines[-1]["dropped"] >= 3


async def test_queue_is_bounded(opened, sink):
    sink.delay = 0.1
    tracing = opened({**sink.environment, "OTEL_BSP_MAX_QUEUE_SIZE": "50", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10"})
    for number in range(1000):
        one_run(tracing, number)
    await tracing.close()
    assert len(sink.spans) < 200
