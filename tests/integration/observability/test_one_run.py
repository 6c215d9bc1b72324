"""One run with two model calls and a tool, read in the log, the traces and the metrics of a real process."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.support.faulty_provider import answers, errs_in_stream, refuses
from tests.support.runtimes import REVISION, free_port

TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"
QUESTION = "giraffe-question"


async def test_one_request_id_ties_log_trace_and_answer(stage, sink):
    scene = await stage()
    asked = {**scene.key, "x-request-id": "request-7", "traceparent": TRACE}
    status, headers, body = await scene.runtime.run(QUESTION, asked)
    assert (status, headers["x-request-id"], body["request_id"]) == (200, "request-7", "request-7")
    await sink.until_spans(6)
    (line,) = scene.runtime.process.lines("run")
    (run,) = sink.named("invoke_agent")
    assert line["request_id"] == run.attributes["greylag.request_id"] == "request-7"
    assert line["trace_id"] == run.trace_id == "ab" * 16
    assert line["conversation"] == run.attributes["gen_ai.conversation.id"]
    assert {span.trace_id for span in sink.spans} == {run.trace_id}
    assert {call.headers["X-Request-ID"] for call in scene.provider.calls} == {"request-7"}
    assert (line["revision"], line["attempts"], line["tool_calls"], line["outcome"]) == (REVISION, 2, 1, "ok")


async def test_spans_nest_run_iteration_model_and_tool(stage, sink):
    scene = await stage()
    assert (await scene.runtime.run(QUESTION, {**scene.key, "traceparent": TRACE}))[0] == 200
    await sink.until_spans(6)
    (run,) = sink.named("invoke_agent")
    assert run.parent_id == "cd" * 8
    iterations = sink.children(run)
    assert [(span.name, span.attributes["greylag.iteration"]) for span in iterations] == [
        ("iteration", 1),
        ("iteration", 2),
    ]
    first, second = ([child.name for child in sink.children(iteration)] for iteration in iterations)
    assert (first, second) == (["chat gpt-x", "execute_tool counted.look"], ["chat gpt-x"])
    assert not any(span.failed for span in sink.spans)
    assert {span.resource["service.version"] for span in sink.spans} == {REVISION}
    assert run.attributes["greylag.usage.total_tokens"] == 14
    # The trace goes on at the provider, below the call that it belongs to.
    parents = {call.headers["traceparent"].split("-")[2] for call in scene.provider.calls}
    assert parents == {span.span_id for span in sink.named("chat")}
    (tool,) = sink.named("execute_tool")
    assert scene.tools.headers[0]["traceparent"].split("-")[1:3] == [run.trace_id, tool.span_id]


async def test_metrics_count_the_run_by_revision_and_by_nothing_of_the_request(stage, user):
    scene = await stage()
    _, _, body = await scene.runtime.run(QUESTION, {**scene.key, "x-request-id": "request-7"})
    runtime = scene.runtime
    assert await runtime.metric('agent_requests_total{outcome="ok"}') == 1
    assert await runtime.metric('model_attempts_total{model="gpt-x",result="ok"}') == 2
    assert await runtime.metric('tool_calls_total{tool="counted.look",outcome="ok"}') == 1
    assert await runtime.metric('tokens_total{model="gpt-x",direction="input"}') == 6
    assert await runtime.metric('agent_cost_usd_total{model="gpt-x"}') == pytest.approx(float(body["cost_usd"]))
    _, text = await runtime.get("/metrics")
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(f'revision="{REVISION}"' in sample for sample in samples)
    assert not any(word in text for word in ("request-7", user, body["conversation_id"]))


async def failing(scene):
    """What makes a process talkative: refusals that quote the key, blocked questions, wrong credentials."""
    scene.provider.script("gpt-x", refuses(401), refuses(500), errs_in_stream(), answers("walrus-answer"))
    runtime, key = scene.runtime, scene.key
    statuses = [(await runtime.run(QUESTION, key))[0] for _ in range(2)]
    await runtime.events({"query": QUESTION}, key)
    statuses.append((await runtime.run(f"{QUESTION} never-ask-this", key))[0])
    statuses.append((await runtime.run(QUESTION, {"authorization": "Bearer user-key-5d4c3b2a19080706x"}))[0])
    statuses.append((await runtime.run({"query": QUESTION, "giraffe-question": 1}, key))[0])
    return statuses


async def test_no_secret_and_no_text_is_told_anywhere(stage, sink, secrets, texts, card, user):
    scene = await stage()
    status, _, body = await scene.runtime.run(QUESTION, scene.key)
    assert (status, body["answer"]) == (200, "walrus-answer [redacted:creditCards]")
    assert await scene.runtime.metric('redactions_total{kind="creditCards"}') == 1
    assert scene.tools.headers[0]["Authorization"] == f"Bearer {secrets['header of the tool']}"
    assert scene.provider.calls[0].headers["Authorization"] == f"Bearer {secrets['key of the model']}"
    assert await failing(scene) == [502, 200, 400, 401, 400]
    status, _, task = await scene.runtime.run(QUESTION, scene.key, "/agent/tasks")
    assert status == 202

    async def ended():
        async with scene.runtime.http.get(
            f"{scene.runtime.url}/agent/tasks/{task['task_id']}", headers=scene.key
        ) as response:
            return (await response.json())["status"] in ("Succeeded", "Failed")

    await scene.runtime.until(ended, 20)
    await sink.until_spans(14)
    for place, told in (await scene.told()).items():
        for name, secret in secrets.items():
            assert secret not in told, f"{name} in {place}"
        for name, text in texts.items():
            assert text not in told, f"{name} in {place}"
        assert card not in told, place
        assert user not in told, f"user in {place}"
        assert body["conversation_id"] not in told, f"conversation in {place}"
    assert "Traceback" not in scene.runtime.process.output()


async def test_text_is_kept_redacted_where_that_is_asked_for(stage, sink, secrets, card):
    scene = await stage(GREYLAG_CAPTURE_CONTENT="true")
    assert (await scene.runtime.run(f"{QUESTION} {card} password=hunter2hunter2", scene.key))[0] == 200
    await sink.until_spans(6)
    first, last = sink.named("chat")
    (tool,) = sink.named("execute_tool")
    asked = json.loads(first.attributes["gen_ai.input.messages"])
    assert [message["role"] for message in asked] == ["system", "user"]
    assert "giraffe-question" in first.attributes["gen_ai.input.messages"]
    assert "walrus-answer" in last.attributes["gen_ai.output.messages"]
    assert "badger-argument" in tool.attributes["gen_ai.tool.call.arguments"]
    assert "ferret-result" in tool.attributes["gen_ai.tool.call.result"]
    told = await scene.told()
    assert card not in told["spans"]
    assert "hunter2" not in told["spans"]
    assert "[redacted:creditCards]" in told["spans"]
    assert not any(secret in told["spans"] for secret in secrets.values())
    # It is a matter of traces alone.
    assert "giraffe" not in told["log"] + told["/metrics"]


async def test_collector_that_is_down_costs_nothing_and_floods_nothing(stage):
    scene = await stage(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    scene.provider.script("gpt-x", answers())
    began = time.monotonic()
    statuses = {status for status, _, _ in [await scene.runtime.run("hi", scene.key) for _ in range(100)]}
    assert statuses == {200}
    assert time.monotonic() - began < 30
    others = [line for line in scene.runtime.process.output().splitlines() if '"event": "run"' not in line]
    assert sum("collector" in line for line in others) <= 1
    assert len(others) < 10, others


async def test_collector_that_hangs_holds_up_neither_runs_nor_the_end(stage, sink):
    sink.delay = 60
    scene = await stage()
    scene.provider.script("gpt-x", answers())
    ended = await asyncio.gather(*(scene.runtime.run("hi", scene.key) for _ in range(50)))
    assert {status for status, _, _ in ended} == {200}
    scene.runtime.process.terminate()
    began = time.monotonic()
    assert await scene.runtime.process.exit_code() == 0
    assert time.monotonic() - began < 15
