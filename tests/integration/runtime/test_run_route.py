"""`POST /agent/run` of a real process."""

from __future__ import annotations

import asyncio
import io
import json

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent_api.conversation import parse_conversation_id
from agent_api.observations import Observations, conversation_hash
from demo.model_server.faults import fails

REVISION = "support-5c9f0a1b2d"
MIB = 1024 * 1024


async def test_answer_has_exactly_the_promised_fields(runtime):
    status, headers, body = await runtime.run(headers={"x-request-id": "req-1", "x-greylag-epoch": "7"})
    conversation = body.pop("conversation_id")
    assert body.pop("latency_ms") >= 0
    assert (status, body) == (
        200,
        {
            "answer": "Hello",
            "finish_reason": "stop",
            "tool_calls": [],
            "tokens_used": 7,
            "cost_usd": None,
            "budget": None,
            "cached": False,
            "advice": [],
            "request_id": "req-1",
            "revision": REVISION,
            "model": "gpt-x",
        },
    )
    assert headers["x-conversation-id"] == conversation
    assert (headers["x-request-id"], headers["x-greylag-outcome"], headers["x-greylag-revision"]) == (
        "req-1",
        "ok",
        REVISION,
    )
    parts = parse_conversation_id(conversation)
    assert (parts.revision, parts.epoch) == (REVISION, 7)


async def test_conversation_is_continued_by_header_or_body(runtime):
    ours, other = [(await runtime.run())[2]["conversation_id"] for _ in range(2)]
    by_header = await runtime.run(headers={"x-conversation-id": ours})
    by_body = await runtime.run({"query": "hi", "conversation_id": ours})
    by_both = await runtime.run({"query": "hi", "conversation_id": other}, headers={"x-conversation-id": ours})
    assert [answer[2]["conversation_id"] for answer in (by_header, by_body, by_both)] == [ours] * 3


@pytest.mark.parametrize("foreign", ["support-77aa01e4c3.3.abcdefgh", "session-4711", f"{REVISION}.3.abcdefgh"])
async def test_foreign_id_is_one_conversation_for_its_caller_and_no_evidence(runtime, foreign):
    asked = [{"query": "hi", "user_id": user} for user in ("ann", "ann", "bob")]
    answers = [await runtime.run(body, headers={"x-conversation-id": foreign}) for body in asked]
    ids = [body["conversation_id"] for _, _, body in answers]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith(f"{REVISION}.0.")
    assert ids == [headers["x-conversation-id"] for _, headers, _ in answers]
    units = {unit["name"] for slot in (await runtime.observations())["slots"] for unit in slot["units"]}
    assert not units & set(map(conversation_hash, ids))


async def test_request_id_that_is_not_fit_is_replaced(runtime, provider):
    _, headers, body = await runtime.run(headers={"x-request-id": "a b<script>"})
    assert headers["x-request-id"] == body["request_id"] == provider.calls[0]["headers"]["x-request-id"]
    assert " " not in body["request_id"]


BAD_BODIES = {
    "empty": (b"", 400, ""),
    "no JSON": (b"{", 400, ""),
    "no object": (b"[]", 400, ""),
    "no query": (b"{}", 400, "query"),
    "empty query": (b'{"query": ""}', 400, "query"),
    "long query": (json.dumps({"query": "x" * 100_001}).encode(), 400, "query"),
    "query of another type": (b'{"query": 7}', 400, "query"),
    "unknown field": (b'{"query": "hi", "temperature": 1}', 400, "temperature"),
    "too many iterations": (b'{"query": "hi", "max_iterations": 101}', 400, "max_iterations"),
    "no iteration": (b'{"query": "hi", "max_iterations": 0}', 400, "max_iterations"),
    "iterations as text": (b'{"query": "hi", "max_iterations": "5"}', 400, "max_iterations"),
    "empty user": (b'{"query": "hi", "user_id": ""}', 400, "user_id"),
    "conversation of another type": (b'{"query": "hi", "conversation_id": 7}', 400, "conversation_id"),
    "bad UTF-8": (b'{"query": "\xff"}', 400, ""),
    "lone surrogate": (b'{"query": "\\ud800"}', 400, ""),
    "deep nesting": (b'{"query": ' + b"[" * 50_000, 400, ""),
    "too large": (b'{"query": "' + b"x" * MIB + b'"}', 413, None),
}


@pytest.mark.parametrize("case", BAD_BODIES)
async def test_bad_body_is_a_problem_that_names_the_field(runtime, case):
    content, expected, field = BAD_BODIES[case]
    status, headers, body = await runtime.run_raw(io.BytesIO(content))
    assert (status, headers["x-greylag-outcome"]) == (expected, "excluded")
    assert headers.getone("content-type") == "application/problem+json"
    assert body["type"].startswith("urn:greylag:problem:")
    assert field is None or body["errors"][0]["field"] == field


async def test_endless_body_is_cut_off_and_excluded(runtime):
    _, writer = await runtime.connect()
    writer.write(b"POST /agent/run HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")

    async def send():
        for _ in range(10_000):
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()

    with pytest.raises(ConnectionError):
        await send()
    writer.close()
    (line,) = runtime.process.lines("run")
    assert (line["outcome"], line["reason"]) == ("excluded", "request-too-large")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"]
)
async def test_other_media_types_are_refused(runtime, content_type):
    status, _, body = await runtime.run_raw(b'{"query": "hi"}', content_type)
    assert (status, body["type"]) == (415, "urn:greylag:problem:unsupported-media-type")


async def test_unknown_paths_and_methods_are_problems(runtime):
    async with runtime.http.get(f"{runtime.url}/agent/run") as response:
        assert (response.status, response.headers["allow"]) == (405, "POST")
        assert (await response.json(content_type=None))["type"] == "urn:greylag:problem:method-not-allowed"
    status, text = await runtime.get("/nothing")
    assert (status, json.loads(text)["type"]) == (404, "urn:greylag:problem:not-found")
    status, headers, _ = await runtime.run(path="/agent/run/", allow_redirects=False)
    assert (status, "location" in headers) == (404, False)


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_probe_that_asks_by_head_is_answered_without_a_body(runtime, path):
    reader, writer = await runtime.connect()
    writer.write(f"HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
    head, _, body = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    assert (head.split(b" ")[1], body) == (b"200", b"")


async def test_compressed_body_is_refused_by_its_encoding(runtime):
    status, _, body = await runtime.run({"query": "hi"}, {"content-encoding": "gzip"})
    assert (status, body["type"]) == (415, "urn:greylag:problem:unsupported-media-type")
    assert body["detail"].startswith("content-encoding: gzip is not understood")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
GARBAGE = st.one_of(
    st.binary(max_size=200),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"query": JSON.filter(lambda value: not isinstance(value, str) or not value)}).map(
        lambda value: json.dumps(value).encode()
    ),
    st.fixed_dictionaries(
        {"query": st.just("hi"), "max_iterations": JSON.filter(lambda value: type(value) is not int)}
    ).map(lambda value: json.dumps(value).encode()),
)


async def test_garbage_is_always_a_problem_of_the_caller(runtime):
    loop = asyncio.get_running_loop()

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(GARBAGE)
    def fuzz(content):
        sent = runtime.run_raw(content)
        status, headers, body = asyncio.run_coroutine_threadsafe(sent, loop).result(20)
        assert 400 <= status < 500
        assert headers["content-type"] == "application/problem+json"
        assert body["status"] == status
        assert "Traceback" not in json.dumps(body)

    await asyncio.to_thread(fuzz)
    assert "exception" not in runtime.process.output()


async def test_outcomes_are_observed_and_measured(start_runtime, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(), reply(400), reply()]}
    runtime = await start_runtime(document_of(provider.base_url, "gpt-x"))
    _, _, first = await runtime.run(headers={"x-greylag-epoch": "2"})
    conversation = first["conversation_id"]
    failed = await runtime.run(headers={"x-conversation-id": conversation})
    after = await runtime.run(headers={"x-conversation-id": conversation})
    refused = await runtime.run({})
    assert [answer[1]["x-greylag-outcome"] for answer in (failed, after, refused)] == ["error", "ok", "excluded"]
    observed = Observations.model_validate(await runtime.observations())
    assert (observed.instance, observed.in_flight) == ("pod-1", 0)
    assert sum(slot.requests for slot in observed.slots) == 2
    assert sum(slot.failures for slot in observed.slots) == sum(slot.conversations for slot in observed.slots) == 1
    assert {slot.epoch for slot in observed.slots} == {2}
    assert {unit.name for slot in observed.slots for unit in slot.units or ()} == {conversation_hash(conversation)}
    _, metrics = await runtime.get("/metrics")
    assert f'agent_requests_total{{outcome="ok",revision="{REVISION}"}} 2.0' in metrics
    assert f'model_attempts_total{{model="gpt-x",result="refused",revision="{REVISION}"}} 1.0' in metrics
    assert f'tokens_total{{direction="output",model="gpt-x",revision="{REVISION}"}} 8.0' in metrics


async def test_failed_run_is_a_problem_that_tells_which_models_failed(start_runtime, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(500)], "gpt-y": [reply(401)]}
    runtime = await start_runtime(document_of(provider.base_url, "gpt-x", "gpt-y"))
    status, headers, body = await runtime.run()
    assert (status, headers["x-greylag-outcome"]) == (502, "error")
    assert body["type"] == "urn:greylag:problem:model-unavailable"
    assert "gpt-x: unavailable (status 500) after 3 attempts; gpt-y: refused (status 401)" in body["detail"]
    assert headers["x-conversation-id"] == body["conversation_id"]


async def test_run_that_takes_too_long_is_a_problem_of_its_own(start_runtime, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(parts=(10.0,))]}
    runtime = await start_runtime(document_of(provider.base_url, "gpt-x", timeout=0.4))
    status, headers, body = await runtime.run()
    assert (status, headers["x-greylag-outcome"]) == (504, "error")
    assert body["type"] == "urn:greylag:problem:deadline-exceeded"


async def test_client_that_goes_away_is_excluded_and_frees_the_model(start_runtime, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(parts=(10.0,))]}
    runtime = await start_runtime(document_of(provider.base_url, "gpt-x"))
    with pytest.raises(asyncio.TimeoutError):
        await runtime.run(timeout=aiohttp.ClientTimeout(total=0.5))

    async def ended():
        return (await runtime.observations())["inFlight"] == 0

    await runtime.until(ended, seconds=5)
    await asyncio.wait_for(provider.aborted.wait(), 5)
    (line,) = runtime.process.lines("run")
    assert (line["outcome"], line["reason"]) == ("excluded", "client-gone")
    (slot,) = (await runtime.observations())["slots"]
    assert (slot["requests"], [unit["state"] for unit in slot["units"]]) == (0, ["left"])


async def test_body_that_breaks_off_is_excluded(runtime):
    reader, writer = await runtime.connect()
    writer.write(
        b"POST /agent/run HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    )
    await writer.drain()
    writer.close()

    async def told():
        return bool(runtime.process.lines("run"))

    await runtime.until(told, seconds=5)
    assert runtime.process.lines("run")[0]["outcome"] == "excluded"
    assert reader is not None


async def test_log_has_one_line_a_run_and_no_text_of_it(runtime):
    await runtime.run({"query": "my private question", "max_iterations": 50}, headers={"x-request-id": "req-1"})
    (line,) = runtime.process.lines("run")
    assert {"request_id", "conversation", "revision", "outcome", "model", "attempts", "latency_ms"} <= set(line)
    assert "private" not in runtime.process.output()
    assert "Hello" not in runtime.process.output()


async def test_key_leaks_nowhere(start_runtime, provider, document_of, reply, tmp_path):
    secret = "sk-very-secret-1234567890"
    (tmp_path / "credentials" / "0").mkdir(parents=True)
    (tmp_path / "credentials" / "0" / "api-key").write_text(secret)
    stream = reply(parts=(f'data: {{"error": {{"message": "{secret}"}}}}\n\n'.encode(),))
    provider.replies = {"gpt-x": [reply(401), reply(500), stream, reply()]}
    runtime = await start_runtime(
        document_of(provider.base_url, "gpt-x", retry={"maxAttempts": 1}), GREYLAG_CREDENTIALS="0"
    )
    answers = [await runtime.run() for _ in range(4)]
    assert [status for status, _, _ in answers] == [502, 502, 502, 200]
    assert provider.calls[0]["headers"]["authorization"] == f"Bearer {secret}"
    told = [json.dumps(body) + str(headers) for _, headers, body in answers]
    told += [(await runtime.get(path))[1] for path in ("/metrics", "/observations", "/ready", "/openapi.json")]
    assert not any(secret in text for text in [*told, runtime.process.output()])


async def test_simulated_provider_fails_exactly_the_runs_it_chose(start_runtime, model_server, document_of):
    runtime = await start_runtime(document_of(f"{model_server.url}/v1", "bad-v3", retry={"maxAttempts": 2}))
    ids = [f"request-{number}" for number in range(60)]
    answers = await asyncio.gather(*(runtime.run(headers={"x-request-id": request_id}) for request_id in ids))
    expected = {request_id for request_id in ids if fails("bad-v3", request_id, 40)}
    assert {body["request_id"] for status, _, body in answers if status == 502} == expected
    stats = await asyncio.to_thread(model_server.get, "/stats")
    assert set(stats["failedRequestIds"]) == expected
    assert stats["calls"]["bad-v3"] == len(ids) + len(expected)


async def test_fallback_answers_for_the_bad_model(start_runtime, model_server, document_of):
    runtime = await start_runtime(document_of(f"{model_server.url}/v1", "bad-v3", "good-v1", retry={"maxAttempts": 1}))
    answers = await asyncio.gather(*(runtime.run(headers={"x-request-id": f"r-{number}"}) for number in range(30)))
    assert all(status == 200 for status, _, _ in answers)
    models = {body["request_id"]: body["model"] for _, _, body in answers}
    assert models == {name: "good-v1" if fails("bad-v3", name, 40) else "bad-v3" for name in models}
