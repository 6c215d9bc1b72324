"""Why no model answered: what a caller and the log are told of it, and what they are not."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from agent_api.runtime_document import EndpointDocument
from agent_runtime.core.faults import FaultKind
from agent_runtime.core.loop import Message
from agent_runtime.llm.chain import open_http_client
from agent_runtime.llm.client import EndpointFailed, ModelRequest, Run
from agent_runtime.llm.credentials import Credentials
from agent_runtime.llm.openai_client import OpenAIClient
from tests.support.faulty_provider import BEGIN, DONE, Reply, answers, delta, event, is_cut, refuses, streams
from tests.support.runtimes import NOBODY, document_of, endpoint_of

ONCE = {"maxAttempts": 1}
KEY = "sk-proj-Zx81Lq0vT7mPw3Rb9YcNd2HfKs5JgUe4"
HTML = Reply(headers=(("content-type", "text/html; charset=utf-8"),), steps=(b"<html>\ndata: {\n\n</html>",))
WHOLE = json.dumps({"choices": [{"message": {"content": "Hello"}}]}).encode()
JSON = Reply(headers=(("content-type", "application/json"),), steps=(WHOLE,))
LONG = json.dumps({"error": {"type": "faulty", "message": "x" * 70_000}})


def detail(answer):
    assert answer[0] == 502, answer
    return answer[2]["detail"]


@pytest.fixture
async def ask(tmp_path):
    """Asks one endpoint once, in this process; answers its failure and the run."""
    async with open_http_client() as http:

        async def failure(base_url, expected=(), **changes):
            endpoint = EndpointDocument.model_validate(endpoint_of("gpt-x", base_url, **changes))
            client = OpenAIClient(endpoint, 0, Credentials(tmp_path, expected), http)
            run = Run("request-1", asyncio.get_running_loop().time() + 20)
            with pytest.raises(EndpointFailed) as failed:
                await client.complete(ModelRequest((Message("user", "hi"),), run))
            return failed.value.fault, run

        yield failure


async def test_provider_says_why_it_refuses_and_its_message_stays_unsaid(start_runtime, provider):
    provider.script("gpt-x", refuses(400, code="context_length_exceeded"))
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)))
    status, _, body = await runtime.run()
    told = body["detail"]
    assert status == 400
    assert told == (
        "The question is too long for the model: send less"
        " (gpt-x: refused (status 400, context_length_exceeded) after 1 attempt)."
    )
    (line,) = runtime.process.lines("model did not answer")
    assert (line["cause"], line["model"]) == ("refused (status 400, context_length_exceeded)", "gpt-x")
    assert line["request_id"] == runtime.process.lines("run")[0]["request_id"]
    assert "refused for" not in told + runtime.process.output()


async def test_type_of_an_error_is_told_where_it_has_no_code(ask, provider):
    provider.script("gpt-x", refuses(429))
    assert str((await ask(provider.base_url))[0]) == "rate limited (status 429, faulty)"


async def test_code_of_an_error_in_a_stream_is_told(ask, provider):
    provider.script("gpt-x", streams(BEGIN, event({"error": {"message": "m", "code": "overloaded"}})))
    assert str((await ask(provider.base_url))[0]) == "unavailable (overloaded)"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(401, body=json.dumps({"error": {"code": KEY}})),
        Reply(401, body=json.dumps({"error": {"type": f"bad.{KEY}"}})),
        streams(event({"error": {"code": KEY}})),
        Reply(headers=(("content-type", f"text/{KEY.lower()}"),), steps=(b"x",)),
    ],
)
async def test_key_that_a_provider_gives_as_a_word_is_not_told(ask, provider, tmp_path, reply):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "api-key").write_text(KEY)
    provider.script("gpt-x", reply)
    assert KEY.lower() not in str((await ask(provider.base_url, expected=(0,)))[0]).lower()


@pytest.mark.parametrize("body", ["<html>", "[]", '{"error": "no"}', LONG])
async def test_refusal_that_cannot_be_read_is_told_by_its_status(ask, provider, body):
    provider.script("gpt-x", Reply(403, body=body))
    assert str((await ask(provider.base_url))[0]) == "refused (status 403)"


async def test_body_of_a_refusal_is_not_waited_for_long(ask):
    async def stalls(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 x\r\nretry-after: 7\r\ncontent-length: 9\r\n\r\n{")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(stalls, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        begun = asyncio.get_running_loop().time()
        fault, _ = await ask(f"http://127.0.0.1:{port}/v1")
    assert (fault.kind, fault.retry_after) == (FaultKind.RATE_LIMITED, 7)
    assert asyncio.get_running_loop().time() - begun < 5


async def test_refused_connection_is_told_and_where_it_was_is_in_the_log_alone(start_runtime):
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", f"{NOBODY}?key=very-secret")))
    told = detail(await runtime.run())
    assert told == "No model answered: gpt-x: connection refused after 3 attempts."
    (line,) = runtime.process.lines("model did not answer")
    assert (line["cause"], line["attempts"], line["host"], line["port"]) == ("connection refused", 3, "127.0.0.1", 9)
    assert "very-secret" not in runtime.process.output()
    assert await runtime.metric('model_attempts_total{model="gpt-x",result="connection"}') == 3


async def test_unknown_host_is_told(ask, monkeypatch):
    def unknown(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    fault, _ = await ask("http://models.invalid/v1")
    assert (fault.kind, str(fault)) == (FaultKind.CONNECTION, "unknown host")


async def test_failed_tls_is_told(ask, provider):
    fault, _ = await ask(provider.base_url.replace("http://", "https://"))
    assert (fault.kind, str(fault)) == (FaultKind.CONNECTION, "TLS failed")


async def test_host_that_takes_no_connection_is_told_from_a_model_that_is_silent(ask):
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        fault, run = await ask(f"http://127.0.0.1:{full.getsockname()[1]}/v1", firstTokenSeconds=1)
    assert (fault.kind, str(fault)) == (FaultKind.CONNECTION, "timed out while connecting")
    assert run.produced_bytes == 0


async def test_page_instead_of_a_stream_is_told_not_asked_for_again_and_left_for_the_next_model(
    start_runtime, provider
):
    provider.script("gpt-x", HTML)
    endpoints = [endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")]
    runtime = await start_runtime(document_of(*endpoints))
    status, _, body = await runtime.run()
    assert (status, body["model"], provider.hits) == (200, "gpt-y", {"gpt-x": 1, "gpt-y": 1})
    (line,) = runtime.process.lines("model did not answer")
    assert line["cause"] == "answered text/html, not an event stream (is baseURL right?)"
    alone = await start_runtime(document_of(endpoints[0]))
    assert detail(await alone.run()) == (
        "No model answered: gpt-x: answered text/html, not an event stream (is baseURL right?) after 1 attempt."
    )
    assert await runtime.metric('model_attempts_total{model="gpt-x",result="refused"}') == 1


@pytest.mark.parametrize(("reply", "produced"), [(HTML, 0), (JSON, len(WHOLE))])
async def test_whole_answer_that_nobody_asked_for_counts_as_produced_and_a_page_does_not(
    ask, provider, reply, produced
):
    provider.script("gpt-x", reply)
    fault, run = await ask(provider.base_url)
    assert (fault.kind, run.produced_bytes) == (FaultKind.REFUSED, produced)


@pytest.mark.parametrize("steps", [(BEGIN,), (BEGIN, delta(content="Hel"))])
async def test_stream_that_is_cut_is_no_wrong_answer_whatever_its_media_type(ask, provider, steps):
    provider.script("gpt-x", Reply(headers=(("content-type", "text/plain"),), steps=steps))
    assert str((await ask(provider.base_url))[0]) == "cut"


async def test_page_that_does_not_come_to_its_end_is_not_waited_for(ask, provider):
    provider.script("gpt-x", Reply(headers=HTML.headers, steps=(b"<html>", 30.0)))
    assert str((await ask(provider.base_url, firstTokenSeconds=0.5))[0]) == "first token timeout"


async def test_stream_of_another_media_type_is_read(start_runtime, provider):
    steps = (*answers("Hello").steps, DONE)
    provider.script("gpt-x", Reply(headers=(("content-type", "application/octet-stream"),), steps=steps))
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)))
    assert (await runtime.run())[2]["answer"] == "Hello"


async def test_stream_that_breaks_after_a_part_of_the_answer_is_in_the_log(start_runtime, provider):
    provider.script("gpt-x", is_cut())
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)))
    events = await runtime.events()
    assert events[-1]["problem"]["detail"] == "The run ended: gpt-x: connection broke, after a part of the answer."
    (line,) = runtime.process.lines("model did not answer")
    assert (line["cause"], line["attempts"]) == ("connection broke", 1)


async def test_endpoint_that_expects_no_key_is_sent_none(start_runtime, provider):
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)))
    assert (await runtime.run())[0] == 200
    (call,) = provider.calls
    assert "authorization" not in {name.lower() for name in call.headers}
