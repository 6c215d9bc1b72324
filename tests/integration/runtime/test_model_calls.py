"""The chain of model clients against a provider that misbehaves as told."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass

import pytest

from agent_api.live_document import LiveDocument
from agent_api.runtime_document import RuntimeDocument
from agent_runtime.core.loop import Message, ToolCall, ToolSpec
from agent_runtime.llm.breaker import Breakers
from agent_runtime.llm.chain import ChainParts, build_chain, open_http_client
from agent_runtime.llm.client import (
    DeadlineExceeded,
    ModelClient,
    ModelRequest,
    ModelUnavailable,
    Run,
    StreamBroken,
    Usage,
)
from agent_runtime.llm.credentials import Credentials
from agent_runtime.telemetry.metrics import RuntimeMetrics
from agent_runtime.telemetry.tracing import Identity, Tracing

SHORT = {"firstTokenSeconds": 0.2, "idleSeconds": 0.2, "totalSeconds": 2}
PATIENT = {**SHORT, "firstTokenSeconds": 5}
ONCE = {"maxAttempts": 1}


class Calls(RuntimeMetrics):
    """Metrics that keep what they were told of attempts and fallbacks."""

    def __init__(self):
        super().__init__("support-5c9f0a1b2d", lambda: 0)
        self.results, self.given_up, self.first_tokens = [], [], []

    def attempt_ended(self, attempt):
        self.results.append(attempt.result)

    def fell_back(self, model, to=""):
        self.given_up.append((model, to))

    def first_token(self, model, seconds):
        self.first_tokens.append((model, seconds))


@dataclass
class Chain:
    """The chain of an agent without a store, and the run that its calls belong to."""

    model: ModelClient
    calls: Calls
    run: Run | None = None

    async def ask(self, seconds=20.0, **changes):
        self.run = Run("request-1", asyncio.get_running_loop().time() + seconds)
        return await self.model.complete(
            ModelRequest((Message("system", "Be kind."), Message("user", "hi")), self.run, **changes)
        )


@pytest.fixture
async def chain(tmp_path):
    opened = []

    def build(document, expected=()):
        calls, read = Calls(), RuntimeDocument.model_validate(document)
        http = open_http_client()
        opened.append(http)
        parts = ChainParts(
            document=read,
            credentials=Credentials(tmp_path, expected),
            http=http,
            prices=(None,) * len(read.endpoints),
            live=LiveDocument,
            ledger=None,
            breakers=Breakers(read, None),
            metrics=calls,
            tracing=Tracing(Identity("support", "team-a", "support-5c9f0a1b2d", "pod-1")),
        )
        return Chain(build_chain(parts), calls)

    yield build
    for http in opened:
        await http.aclose()


async def failure(chain, seconds=20.0):
    with pytest.raises(ModelUnavailable) as failed:
        await chain.ask(seconds)
    return failed.value


async def test_answer_is_read_from_the_stream(chain, provider, document_of):
    answer = await chain(document_of(provider.base_url)).ask()
    assert (answer.text, answer.model, answer.finish_reason, answer.usage) == ("Hello", "gpt-x", "stop", Usage(3, 4))


async def test_call_carries_messages_limits_and_the_request_id(chain, provider, document_of):
    await chain(document_of(provider.base_url, temperature=0.2)).ask()
    (call,) = provider.calls
    assert call["headers"]["x-request-id"] == "request-1"
    assert "Authorization" not in call["headers"]
    assert call["body"] == {
        "model": "gpt-x",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 100,
        "temperature": 0.2,
    }


async def test_newer_models_get_the_newer_output_limit(chain, provider, document_of):
    await chain(document_of(provider.base_url, "o3-mini")).ask()
    assert provider.calls[0]["body"]["max_completion_tokens"] == 100
    assert "max_tokens" not in provider.calls[0]["body"]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_status_that_may_pass_is_asked_exactly_as_often_as_configured(
    chain, provider, document_of, reply, status
):
    provider.replies = {"gpt-x": [reply(status)]}
    client = chain(document_of(provider.base_url))
    failed = await failure(client)
    assert len(provider.calls) == client.run.attempts == 3
    assert f"status {status}" in str(failed)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 422])
async def test_refusal_goes_straight_to_the_next_model(chain, provider, document_of, reply, status):
    provider.replies = {"gpt-x": [reply(status)]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y"))
    answer = await client.ask()
    assert provider.models_called() == ["gpt-x", "gpt-y"]
    assert (answer.model, client.run.attempts, client.calls.given_up) == ("gpt-y", 2, [("gpt-x", "gpt-y")])
    assert client.run.fell_back


async def test_success_after_retries_needs_no_fallback(chain, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(500), reply(429), reply()]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y"))
    answer = await client.ask()
    assert (answer.model, client.run.attempts, client.calls.given_up) == ("gpt-x", 3, [])
    assert not client.run.fell_back
    assert client.calls.results == ["unavailable", "rate_limited", "ok"]


async def test_refused_connection_is_retried_then_left(chain, provider, document_of):
    document = document_of(provider.base_url, "gpt-x", "gpt-y")
    document["endpoints"][0]["baseUrl"] = "http://127.0.0.1:9/v1"
    client = chain(document)
    await client.ask()
    assert client.run.attempts == 4
    assert client.calls.results == ["connection"] * 3 + ["ok"]


STREAM_FAULTS = {
    "silent before the first token": ("first_token_timeout", [5.0]),
    "role but no token": ("first_token_timeout", ["role", 5.0]),
    "silent between tokens": ("idle_timeout", ["answer", 5.0]),
    "clean end without finish reason": ("cut", ["answer"]),
    "clean end with done but no finish reason": ("cut", ["answer", b"data: [DONE]\n\n"]),
    "empty body": ("cut", [b""]),
    "chunk that is no JSON": ("malformed", ["answer", b"data: {oops\n\n", "end"]),
    "chunk of another shape": ("malformed", ["answer", b"data: [1]\n\n", "end"]),
    "text that is no UTF-8": ("malformed", ["answer", b'data: {"choices": "\xff"}\n\n', "end"]),
    "error in the stream": ("unavailable", ["answer", b'data: {"error": {"message": "Bearer no-key"}}\n\n']),
}


async def test_first_token_is_waited_for_no_longer_where_a_caller_reads_along(
    chain, provider, document_of, reply, wire
):
    role = wire["sse"]({"choices": [{"index": 0, "delta": {"role": "assistant"}}]})
    provider.replies = {"gpt-x": [reply(parts=(role, 5.0))]}
    client = chain(document_of(provider.base_url, retry=ONCE, **SHORT))

    async def emit(_text):
        pass

    with pytest.raises(ModelUnavailable):
        await client.ask(emit=emit)
    assert client.calls.results == ["first_token_timeout"]


@pytest.mark.parametrize("case", STREAM_FAULTS)
async def test_broken_stream_is_an_error_and_never_an_answer(chain, provider, document_of, reply, wire, case):
    result, script = STREAM_FAULTS[case]
    parts = {"role": wire["sse"]({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}), **wire}
    provider.replies = {"gpt-x": [reply(parts=tuple(parts[p] if isinstance(p, str) else p for p in script))]}
    client = chain(document_of(provider.base_url, retry=ONCE, **SHORT))
    failed = await failure(client)
    assert client.calls.results == [result]
    assert "no-key" not in str(failed)


async def test_broken_connection_is_an_error(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(wire["answer"],), abort=True)]}
    client = chain(document_of(provider.base_url, retry=ONCE))
    await failure(client)
    assert client.calls.results == ["connection"]


async def test_slow_stream_meets_the_total_timeout(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(wire["sse"](wire["delta"]("x")), 0.1) * 30)]}
    client = chain(document_of(provider.base_url, retry=ONCE, firstTokenSeconds=1, idleSeconds=1, totalSeconds=0.4))
    begun = asyncio.get_running_loop().time()
    await failure(client)
    assert client.calls.results == ["total_timeout"]
    assert 0.4 <= asyncio.get_running_loop().time() - begun < 1.5


async def test_stream_that_keeps_coming_is_not_idle(chain, provider, document_of, reply, wire):
    slow = (wire["sse"](wire["delta"]("x")), 0.1) * 5
    provider.replies = {"gpt-x": [reply(parts=(*slow, wire["end"]))]}
    answer = await chain(document_of(provider.base_url, retry=ONCE, **PATIENT)).ask()
    assert answer.text == "xxxxx"


async def test_finished_answer_is_not_lost_when_the_rest_of_the_stream_is(chain, provider, document_of, reply, wire):
    finish = wire["sse"](wire["delta"](finish_reason="stop"))
    provider.replies = {"gpt-x": [reply(parts=(wire["answer"], finish, 5.0))]}
    answer = await chain(document_of(provider.base_url, retry=ONCE, **PATIENT)).ask()
    assert (answer.text, answer.usage) == ("Hello", None)


async def test_retry_after_is_waited_for(chain, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(429, {"retry-after": "0.4"}), reply()]}
    client = chain(document_of(provider.base_url, retry={"maxDelaySeconds": 1}))
    begun = asyncio.get_running_loop().time()
    await client.ask()
    assert asyncio.get_running_loop().time() - begun >= 0.4


@pytest.mark.parametrize(("retry_after", "seconds"), [("60", 20.0), ("0.9", 0.5)])
async def test_retry_after_beyond_the_longest_delay_or_the_deadline_goes_to_the_next_model(
    chain, provider, document_of, reply, retry_after, seconds
):
    provider.replies = {"gpt-x": [reply(429, {"retry-after": retry_after})]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y", retry={"maxDelaySeconds": 30}))
    answer = await client.ask(seconds)
    assert (answer.model, client.run.attempts) == ("gpt-y", 2)


async def test_deadline_holds_over_all_attempts_and_models(chain, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(parts=(5.0,))], "gpt-y": [reply(parts=(5.0,))]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y", **PATIENT))
    begun = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await client.ask(0.7)
    assert asyncio.get_running_loop().time() - begun < 1.5


async def test_rotated_key_is_sent_without_a_restart(chain, provider, document_of, tmp_path):
    (tmp_path / "0").mkdir()
    file = tmp_path / "0" / "api-key"
    file.write_text("sk-1\n")
    client = chain(document_of(provider.base_url), expected=(0,))
    await client.ask()
    (tmp_path / "new").write_text("sk-2\n")
    (tmp_path / "new").replace(file)
    await client.ask()
    assert [call["headers"]["Authorization"] for call in provider.calls] == ["Bearer sk-1", "Bearer sk-2"]


async def test_missing_key_goes_to_the_next_model_without_a_call(chain, provider, document_of):
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y"), expected=(0,))
    assert (await client.ask()).model == "gpt-y"
    assert provider.models_called() == ["gpt-y"]


async def test_cancelled_call_ends_the_providers_work(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(wire["answer"], 30.0))]}
    task = asyncio.create_task(chain(document_of(provider.base_url)).ask())
    await asyncio.wait_for(provider.called.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(provider.aborted.wait(), 5)


async def test_text_is_passed_on_as_it_arrives_and_a_cut_after_it_is_final(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(wire["answer"],))]}
    client, texts = chain(document_of(provider.base_url, "gpt-x", "gpt-y")), []

    async def emit(text):
        texts.append(text)

    with pytest.raises(StreamBroken):
        await client.ask(emit=emit)
    assert (texts, provider.models_called(), client.calls.results) == (["Hel", "lo"], ["gpt-x"], ["broken"])


async def test_first_token_is_measured_once_a_call(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(0.2, wire["answer"], wire["end"]))]}
    client = chain(document_of(provider.base_url))
    await client.ask()
    ((model, seconds),) = client.calls.first_tokens
    assert (model, 0.2 <= seconds < 5) == ("gpt-x", True)


async def test_answer_that_is_packed_although_nobody_asked_is_unpacked(chain, provider, document_of, reply, wire):
    packed = gzip.compress(wire["answer"] + wire["end"])
    provider.replies = {"gpt-x": [reply(headers={"content-encoding": "gzip"}, parts=(packed[:20], packed[20:]))]}
    answer = await chain(document_of(provider.base_url)).ask()
    assert (answer.text, answer.usage) == ("Hello", Usage(3, 4))
    assert provider.calls[0]["headers"]["Accept-Encoding"] == "identity"


async def test_provider_learns_the_organization_of_the_environment_and_nothing_of_the_machine(
    chain, provider, document_of, monkeypatch
):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    await chain(document_of(provider.base_url)).ask()
    (call,) = provider.calls
    assert call["headers"]["OpenAI-Organization"] == "org-1"
    assert call["headers"]["Content-Type"] == "application/json"
    assert [name for name in call["headers"] if name.lower().startswith("x-stainless")] == []


async def test_tools_and_their_calls_are_told_as_the_protocol_has_them(chain, provider, document_of):
    call = ToolCall("c00100000", "kb__search", '{"q": 1}')
    client = chain(document_of(provider.base_url))
    client.run = Run("request-1", asyncio.get_running_loop().time() + 20, trace_headers={"traceparent": "00-ab"})
    spoken = (Message("assistant", "", (call,)), Message("tool", "found", tool_call_id="c00100000"))
    tool = ToolSpec("kb.search", "kb__search", "Search.", {"type": "object"})
    await client.model.complete(ModelRequest(spoken, client.run, (tool,), {"type": "json_object"}))
    asked = provider.calls[0]
    assert asked["headers"]["traceparent"] == "00-ab"
    assert asked["body"]["messages"] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "c00100000", "type": "function", "function": {"name": "kb__search", "arguments": '{"q": 1}'}}
            ],
        },
        {"role": "tool", "content": "found", "tool_call_id": "c00100000"},
    ]
    function = {"name": "kb__search", "description": "Search.", "parameters": {"type": "object"}}
    assert asked["body"]["tools"] == [{"type": "function", "function": function}]
    assert asked["body"]["response_format"] == {"type": "json_object"}


async def test_parameters_of_a_provider_are_passed_on_and_never_replace_ours(chain, provider, document_of):
    extra = {"seed": 7, "model": "dearer", "stream": False, "messages": []}
    await chain(document_of(provider.base_url, extra=extra, topP=0.5)).ask()
    body = provider.calls[0]["body"]
    assert (body["seed"], body["top_p"], body["model"], body["stream"]) == (7, 0.5, "gpt-x", True)
    assert len(body["messages"]) == 2
