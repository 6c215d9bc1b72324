"""Spans: their names and attributes, their parents, what they never hold, and what they cost when they are off."""

from __future__ import annotations

import asyncio
import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from agent_api.runtime_document import EndpointDocument
from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.core.loop import Message, ToolCall
from agent_runtime.llm.client import EndpointFailed, ModelAnswer, ModelRequest, Run, Usage
from agent_runtime.telemetry.export import PAUSE_SECONDS, PausingExporter
from agent_runtime.telemetry.spans import MAX_CONTENT_CHARACTERS, ModelSpan
from agent_runtime.telemetry.traced_client import TracedClient
from agent_runtime.telemetry.tracing import Identity, Tracing, open_tracing, provider_of

IDENTITY = Identity("support", "team-a", "support-5c9f0a1b2d", "pod-1")
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "v=1", "baggage": "user=ada"}
ENDPOINT = EndpointDocument(
    model="gpt-x",
    base_url="https://api.openai.com:8443/v1",
    temperature=0.5,
    max_output_tokens=100,
    first_token_seconds=1,
    idle_seconds=1,
    total_seconds=1,
)
ANSWER = ModelAnswer("the answer", "gpt-x", "stop", Usage(10, 4, 6), cost_micro=2_000)
SECRET = "what the user asked"


@pytest.fixture
def kept():
    return InMemorySpanExporter()


@pytest.fixture
def provider(kept):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return provider


@pytest.fixture
def tracing(provider):
    return Tracing(IDENTITY, provider)


@pytest.fixture(params=["on", "off"])
def either(request, provider):
    return Tracing(IDENTITY, provider if request.param == "on" else None)


def begin(tracing, parent=None):
    return tracing.run(request_id="r-1", conversation="c0ffee", parent=parent or {})


def by_name(kept):
    return {span.name: span for span in kept.get_finished_spans()}


def test_run_is_a_tree_of_iterations_model_calls_and_tool_calls(tracing, kept):
    with begin(tracing):
        for number in (1, 2):
            with tracing.iteration(number):
                with ModelSpan(tracing.plan_model_call(ENDPOINT)) as call:
                    call.answered(ANSWER)
                if number == 1:
                    with tracing.tool_call(name="kb.search", call_id="call-1") as tool:
                        tool.ended("ok")
    spans = {span.context.span_id: span for span in kept.get_finished_spans()}
    tree = {
        (span.name, span.attributes.get("greylag.iteration")): span.parent and spans[span.parent.span_id].name
        for span in spans.values()
    }
    assert tree == {
        ("invoke_agent support", None): None,
        ("iteration", 1): "invoke_agent support",
        ("iteration", 2): "invoke_agent support",
        ("chat gpt-x", None): "iteration",
        ("execute_tool kb.search", None): "iteration",
    }
    assert len({span.context.trace_id for span in spans.values()}) == 1


def test_run_span_holds_the_ids_that_tie_it_to_logs_and_what_it_came_to(tracing, kept):
    with begin(tracing) as run:
        trace_id = run.trace_id
        run.ended("ok", tokens=14, cost_micro=2_500)
    span = by_name(kept)["invoke_agent support"]
    assert trace_id == f"{span.context.trace_id:032x}"
    assert dict(span.attributes) == {
        "gen_ai.agent.name": "support",
        "gen_ai.agent.version": "support-5c9f0a1b2d",
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.conversation.id": "c0ffee",
        "greylag.request_id": "r-1",
        "greylag.outcome": "ok",
        "greylag.usage.total_tokens": 14,
        "greylag.cost.usd": 0.0025,
    }


def test_model_span_holds_request_and_usage_by_their_names(tracing, kept):
    with begin(tracing), ModelSpan(tracing.plan_model_call(ENDPOINT)) as call:
        call.asked([Message("user", SECRET)])
        call.answered(ANSWER)
    span = by_name(kept)["chat gpt-x"]
    assert span.kind is SpanKind.CLIENT
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-x",
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.stream": True,
        "gen_ai.request.temperature": 0.5,
        "server.address": "api.openai.com",
        "server.port": 8443,
        "gen_ai.response.model": "gpt-x",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 6,
        "greylag.cost.usd": 0.002,
    }


def test_tool_span_holds_the_call_and_its_outcome(tracing, kept):
    with begin(tracing), tracing.tool_call(name="kb.search", call_id="call-1") as tool:
        tool.asked('{"q": "x"}')
        tool.ended("timeout", "content")
    span = by_name(kept)["execute_tool kb.search"]
    assert span.status.status_code is StatusCode.ERROR
    assert {key: value for key, value in span.attributes.items() if "agent" not in key} == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "kb.search",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call-1",
        "greylag.tool.outcome": "timeout",
        "error.type": "timeout",
    }


ERRORS = [
    (EndpointFailed("gpt-x", Fault(FaultKind.CUT)), "cut"),
    (asyncio.CancelledError(), "cancelled"),
    (RuntimeError(SECRET), "RuntimeError"),
]


@pytest.mark.parametrize(("error", "name"), ERRORS, ids=[name for _, name in ERRORS])
def test_error_is_named_and_its_text_is_not_kept(tracing, kept, error, name):
    def broken():
        with begin(tracing), ModelSpan(tracing.plan_model_call(ENDPOINT)):
            raise error

    with pytest.raises(type(error)):
        broken()
    for span in kept.get_finished_spans():
        assert span.attributes["error.type"] == name
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description is None
        assert span.events == ()
    assert len(kept.get_finished_spans()) == 2


def test_problem_of_a_run_is_its_error(tracing, kept):
    with begin(tracing) as run:
        run.ended("error", problem="model-unavailable")
    span = by_name(kept)["invoke_agent support"]
    assert span.attributes["error.type"] == "model-unavailable"
    assert span.status.status_code is StatusCode.ERROR


def test_no_text_is_kept_by_default(tracing, kept):
    everything(tracing)
    assert SECRET not in " ".join(span.to_json() for span in kept.get_finished_spans())


def everything(tracing):
    call = ToolCall("call-1", "kb.search", json.dumps({"q": SECRET}))
    with begin(tracing):
        with ModelSpan(tracing.plan_model_call(ENDPOINT)) as model:
            model.asked([Message("user", SECRET), Message("assistant", "", (call,))])
            model.answered(ModelAnswer(SECRET, "gpt-x", "tool_calls", None, (call,)))
        with tracing.tool_call(name="kb.search", call_id="call-1") as tool:
            tool.asked(call.arguments)
            tool.ended("ok", SECRET)


def test_text_is_kept_redacted_where_it_is_asked_for(provider, kept):
    everything(Tracing(IDENTITY, provider, capture=lambda text: text.replace("user", "[gone]")))
    spans = by_name(kept)
    model, tool = spans["chat gpt-x"].attributes, spans["execute_tool kb.search"].attributes
    asked, answered = json.loads(model["gen_ai.input.messages"]), json.loads(model["gen_ai.output.messages"])
    assert asked[0] == {"role": "user", "parts": [{"type": "text", "content": "what the [gone] asked"}]}
    assert asked[1]["parts"][0]["type"] == "tool_call"
    assert answered[0]["parts"][0]["content"] == "what the [gone] asked"
    assert tool["gen_ai.tool.call.arguments"] == '{"q": "what the [gone] asked"}'
    assert tool["gen_ai.tool.call.result"] == "what the [gone] asked"
    assert SECRET not in " ".join(span.to_json() for span in kept.get_finished_spans())


def test_kept_text_is_bounded(provider, kept):
    tracing = Tracing(IDENTITY, provider, capture=str)
    with tracing.tool_call(name="t", call_id="c") as tool:
        tool.ended("ok", "x" * 10 * MAX_CONTENT_CHARACTERS)
    assert len(by_name(kept)["execute_tool t"].attributes["gen_ai.tool.call.result"]) == MAX_CONTENT_CHARACTERS


def test_run_joins_the_trace_of_its_caller(either):
    with begin(either, CALLER) as run:
        assert run.trace_id == TRACE
        assert either.inject()["traceparent"].split("-")[1] == TRACE


def test_trace_is_passed_on_as_it_came_while_it_is_off():
    off = Tracing(IDENTITY)
    with begin(off, CALLER), off.iteration(1), ModelSpan(off.plan_model_call(ENDPOINT)):
        assert off.inject() == {"traceparent": CALLER["traceparent"], "tracestate": "v=1"}


def test_model_call_is_the_parent_of_what_the_model_server_does(tracing, kept):
    with begin(tracing, CALLER), ModelSpan(tracing.plan_model_call(ENDPOINT)):
        passed_on = tracing.inject()
    span = by_name(kept)["chat gpt-x"]
    assert passed_on == {"traceparent": f"00-{TRACE}-{span.context.span_id:016x}-01", "tracestate": "v=1"}


@pytest.mark.parametrize("parent", [{}, {"traceparent": "nonsense"}, {"traceparent": "00-" + "0" * 32 + "-b7-01"}])
def test_unusable_trace_of_a_caller_begins_a_new_one(either, parent):
    with begin(either, parent) as run:
        assert bool(run.trace_id) is either.on
        assert bool(either.inject()) is either.on


def test_caller_that_does_not_sample_is_obeyed(tracing, kept):
    with (
        begin(tracing, {"traceparent": CALLER["traceparent"][:-1] + "0"}),
        ModelSpan(tracing.plan_model_call(ENDPOINT)),
    ):
        assert tracing.inject()["traceparent"].endswith("-00")
    assert kept.get_finished_spans() == ()


def test_new_run_is_not_below_one_that_its_task_left_open(tracing, kept):
    outer = begin(tracing)
    outer.__enter__()
    with begin(tracing):
        pass
    outer.__exit__(None, None, None)
    assert [span.parent for span in kept.get_finished_spans()] == [None, None]


async def test_tools_side_by_side_are_below_their_own_iteration(tracing, kept):
    async def one_tool(number):
        with tracing.tool_call(name=f"tool-{number}", call_id=str(number)) as tool:
            await asyncio.sleep(0)
            tool.ended("ok")

    async def one_run():
        with begin(tracing), tracing.iteration(1):
            await asyncio.gather(*(one_tool(number) for number in range(5)))

    await asyncio.gather(*(one_run() for _ in range(10)))
    spans = {span.context.span_id: span for span in kept.get_finished_spans()}
    tools = [span for span in spans.values() if span.name.startswith("execute_tool")]
    assert len(tools) == 50
    assert {spans[span.parent.span_id].name for span in tools} == {"iteration"}
    assert all(spans[span.parent.span_id].context.trace_id == span.context.trace_id for span in tools)


async def test_run_that_another_task_closes_ends_without_complaint(tracing, kept):
    async def stream():
        with begin(tracing), tracing.iteration(1):
            yield

    running = stream()
    await asyncio.create_task(anext(running))
    await asyncio.create_task(running.aclose())
    assert {span.attributes["error.type"] for span in kept.get_finished_spans()} == {"cancelled"}
    assert tracing.inject() == {}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
async def test_tracing_is_off_unless_the_environment_wants_it(environment):
    tracing = open_tracing(IDENTITY, environment)
    assert not tracing.on
    await tracing.close()


def test_wrong_variable_is_told_and_leaves_tracing_off(monkeypatch):
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "0")
    with capture_logs() as lines:
        assert not open_tracing(IDENTITY, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}).on
    assert [line["log_level"] for line in lines] == ["error"]


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.openai.com", "openai"),
        ("team.openai.azure.com", "azure.ai.openai"),
        ("notopenai.com", "notopenai.com"),
        ("vllm.models.svc", "vllm.models.svc"),
    ],
)
def test_provider_is_named_by_its_host(host, name):
    assert provider_of(host) == name


class Asked:
    """Model client that keeps the headers it was to send on."""

    def __init__(self, result):
        self.result = result
        self.headers = None

    async def complete(self, request):
        self.headers = request.run.trace_headers
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def test_traced_call_is_shown_measured_and_passed_on(tracing, kept):
    client, measured = Asked(ANSWER), []
    run = Run("r-1", deadline=0, trace_headers={"traceparent": "of the run"})
    traced = TracedClient(client, ENDPOINT, tracing, lambda model, seconds: measured.append((model, seconds)))
    with begin(tracing):
        assert await traced.complete(ModelRequest((Message("user", SECRET),), run)) is ANSWER
    span = by_name(kept)["chat gpt-x"]
    assert client.headers["traceparent"].split("-")[2] == f"{span.context.span_id:016x}"
    assert run.trace_headers == {"traceparent": "of the run"}
    assert span.attributes["gen_ai.usage.output_tokens"] == 4
    ((model, seconds),) = measured
    assert model == "gpt-x"
    assert 0 <= seconds < 5


async def test_traced_call_that_fails_is_measured_as_well(tracing, kept):
    measured = []
    failure = EndpointFailed("gpt-x", Fault(FaultKind.UNAVAILABLE, 503))
    traced = TracedClient(Asked(failure), ENDPOINT, tracing, lambda *call: measured.append(call))
    with pytest.raises(EndpointFailed):
        await traced.complete(ModelRequest((), Run("r-1", deadline=0)))
    assert by_name(kept)["chat gpt-x"].attributes["error.type"] == "unavailable"
    assert len(measured) == 1


class Collector:
    def __init__(self, *results):
        self.results = list(results)
        self.exports = 0

    def export(self, spans):
        self.exports += 1
        return self.results.pop(0)

    def shutdown(self):
        pass


def test_collector_that_failed_is_left_alone_for_a_while():
    now = [100.0]
    collector = Collector(SpanExportResult.FAILURE, SpanExportResult.FAILURE, SpanExportResult.SUCCESS)
    exporter = PausingExporter(collector, clock=lambda: now[0])
    with capture_logs() as lines:
        for _ in range(50):
            exporter.export(["span"])
        assert collector.exports == 1
        now[0] += PAUSE_SECONDS
        exporter.export(["span"])
        exporter.export(["span"])
        assert collector.exports == 2
        now[0] += PAUSE_SECONDS
        assert exporter.export(["span"]) is SpanExportResult.SUCCESS
    assert [(line["log_level"], line.get("dropped")) for line in lines] == [("warning", None), ("info", 52)]
