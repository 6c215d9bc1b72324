"""The chain of model clients against a provider that misbehaves as told."""

from __future__ import annotations

import asyncio

import pytest

from agent_api.runtime_document import RuntimeDocument
from agent_runtime.core.loop import Message
from agent_runtime.llm.chain import build_chain, open_http_client
from agent_runtime.llm.client import DeadlineExceeded, ModelRequest, ModelUnavailable, Usage
from agent_runtime.llm.credentials import Credentials

SHORT = {"firstTokenSeconds": 0.2, "idleSeconds": 0.2, "totalSeconds": 2}
ONCE = {"maxAttempts": 1}


@pytest.fixture
async def chain(tmp_path):
    clients = []

    def build(document, expected=()):
        http = open_http_client()
        clients.append(http)
        credentials = Credentials(tmp_path, expected)
        attempts, fallbacks = [], []
        client = build_chain(
            RuntimeDocument.model_validate(document), credentials, http, attempts.append, fallbacks.append
        )
        client.results = attempts
        client.given_up = fallbacks
        return client

    yield build
    for http in clients:
        await http.aclose()


def asked(seconds=20.0):
    deadline = asyncio.get_running_loop().time() + seconds
    return ModelRequest((Message("system", "Be kind."), Message("user", "hi")), "request-1", deadline)


async def failure(client, seconds=20.0):
    with pytest.raises(ModelUnavailable) as failed:
        await client.complete(asked(seconds))
    return failed.value


async def test_answer_is_read_from_the_stream(chain, provider, document_of):
    answer = await chain(document_of(provider.base_url)).complete(asked())
    assert (answer.text, answer.model, answer.finish_reason, answer.usage) == ("Hello", "gpt-x", "stop", Usage(3, 4))


async def test_call_carries_messages_limits_and_the_request_id(chain, provider, document_of):
    await chain(document_of(provider.base_url, temperature=0.2)).complete(asked())
    (call,) = provider.calls
    assert call["headers"]["x-request-id"] == "request-1"
    assert call["headers"]["Authorization"] == "Bearer no-key"
    assert call["body"] == {
        "model": "gpt-x",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 100,
        "temperature": 0.2,
    }


async def test_newer_models_get_the_newer_output_limit(chain, provider, document_of):
    await chain(document_of(provider.base_url, "o3-mini")).complete(asked())
    assert provider.calls[0]["body"]["max_completion_tokens"] == 100
    assert "max_tokens" not in provider.calls[0]["body"]


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
async def test_status_that_may_pass_is_asked_exactly_as_often_as_configured(
    chain, provider, document_of, reply, status
):
    provider.replies = {"gpt-x": [reply(status)]}
    failed = await failure(chain(document_of(provider.base_url)))
    assert len(provider.calls) == failed.attempts == 3
    assert f"status {status}" in str(failed)


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 422])
async def test_refusal_goes_straight_to_the_next_model(chain, provider, document_of, reply, status):
    provider.replies = {"gpt-x": [reply(status)]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y"))
    answer = await client.complete(asked())
    assert provider.models_called() == ["gpt-x", "gpt-y"]
    assert (answer.model, answer.attempts, client.given_up) == ("gpt-y", 2, ["gpt-x"])


async def test_success_after_retries_needs_no_fallback(chain, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(500), reply(429), reply()]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y"))
    answer = await client.complete(asked())
    assert (answer.model, answer.attempts, client.given_up) == ("gpt-x", 3, [])
    assert [attempt.result for attempt in client.results] == ["unavailable", "rate_limited", "ok"]


async def test_refused_connection_is_retried_then_left(chain, provider, document_of):
    document = document_of(provider.base_url, "gpt-x", "gpt-y")
    document["endpoints"][0]["baseUrl"] = "http://127.0.0.1:9/v1"
    client = chain(document)
    assert (await client.complete(asked())).attempts == 4
    assert [attempt.result for attempt in client.results] == ["connection"] * 3 + ["ok"]


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


@pytest.mark.parametrize("case", STREAM_FAULTS)
async def test_broken_stream_is_an_error_and_never_an_answer(chain, provider, document_of, reply, wire, case):
    result, script = STREAM_FAULTS[case]
    parts = {"role": wire["sse"]({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}), **wire}
    provider.replies = {"gpt-x": [reply(parts=tuple(parts[p] if isinstance(p, str) else p for p in script))]}
    client = chain(document_of(provider.base_url, retry=ONCE, **SHORT))
    failed = await failure(client)
    assert [attempt.result for attempt in client.results] == [result]
    assert "no-key" not in str(failed)


async def test_broken_connection_is_an_error(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(wire["answer"],), abort=True)]}
    client = chain(document_of(provider.base_url, retry=ONCE))
    await failure(client)
    assert [attempt.result for attempt in client.results] == ["connection"]


async def test_slow_stream_meets_the_total_timeout(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(wire["sse"](wire["delta"]("x")), 0.1) * 30)]}
    client = chain(document_of(provider.base_url, retry=ONCE, firstTokenSeconds=1, idleSeconds=1, totalSeconds=0.4))
    begun = asyncio.get_running_loop().time()
    await failure(client)
    assert [attempt.result for attempt in client.results] == ["total_timeout"]
    assert 0.4 <= asyncio.get_running_loop().time() - begun < 1.5


async def test_stream_that_keeps_coming_is_not_idle(chain, provider, document_of, reply, wire):
    slow = (wire["sse"](wire["delta"]("x")), 0.1) * 5
    provider.replies = {"gpt-x": [reply(parts=(*slow, wire["end"]))]}
    answer = await chain(document_of(provider.base_url, retry=ONCE, **SHORT)).complete(asked())
    assert answer.text == "xxxxx"


async def test_finished_answer_is_not_lost_when_the_rest_of_the_stream_is(chain, provider, document_of, reply, wire):
    finish = wire["sse"](wire["delta"](finish_reason="stop"))
    provider.replies = {"gpt-x": [reply(parts=(wire["answer"], finish, 5.0))]}
    answer = await chain(document_of(provider.base_url, retry=ONCE, **SHORT)).complete(asked())
    assert (answer.text, answer.usage) == ("Hello", None)


async def test_retry_after_is_waited_for(chain, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(429, {"retry-after": "0.4"}), reply()]}
    client = chain(document_of(provider.base_url, retry={"maxDelaySeconds": 1}))
    begun = asyncio.get_running_loop().time()
    await client.complete(asked())
    assert asyncio.get_running_loop().time() - begun >= 0.4


@pytest.mark.parametrize(("retry_after", "seconds"), [("60", 20.0), ("0.9", 0.5)])
async def test_retry_after_beyond_the_longest_delay_or_the_deadline_goes_to_the_next_model(
    chain, provider, document_of, reply, retry_after, seconds
):
    provider.replies = {"gpt-x": [reply(429, {"retry-after": retry_after})]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y", retry={"maxDelaySeconds": 30}))
    answer = await client.complete(asked(seconds))
    assert (answer.model, answer.attempts) == ("gpt-y", 2)


async def test_deadline_holds_over_all_attempts_and_models(chain, provider, document_of, reply):
    provider.replies = {"gpt-x": [reply(parts=(5.0,))], "gpt-y": [reply(parts=(5.0,))]}
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y", **SHORT))
    begun = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await client.complete(asked(0.7))
    assert asyncio.get_running_loop().time() - begun < 1.5


async def test_rotated_key_is_sent_without_a_restart(chain, provider, document_of, tmp_path):
    (tmp_path / "0").mkdir()
    file = tmp_path / "0" / "api-key"
    file.write_text("sk-1\n")
    client = chain(document_of(provider.base_url), expected=(0,))
    await client.complete(asked())
    (tmp_path / "new").write_text("sk-2\n")
    (tmp_path / "new").replace(file)
    await client.complete(asked())
    assert [call["headers"]["Authorization"] for call in provider.calls] == ["Bearer sk-1", "Bearer sk-2"]


async def test_missing_key_goes_to_the_next_model_without_a_call(chain, provider, document_of):
    client = chain(document_of(provider.base_url, "gpt-x", "gpt-y"), expected=(0,))
    assert (await client.complete(asked())).model == "gpt-y"
    assert provider.models_called() == ["gpt-y"]


async def test_cancelled_call_ends_the_providers_work(chain, provider, document_of, reply, wire):
    provider.replies = {"gpt-x": [reply(parts=(wire["answer"], 30.0))]}
    task = asyncio.create_task(chain(document_of(provider.base_url)).complete(asked()))
    await asyncio.wait_for(provider.called.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(provider.aborted.wait(), 5)
