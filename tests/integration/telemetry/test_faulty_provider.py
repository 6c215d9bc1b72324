"""The misbehaving provider misbehaves as told: what other tests prove with it hangs on that."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from openai import APIConnectionError, APIError, AsyncOpenAI, RateLimitError

from tests.support import faulty_provider as faults

ASK = {"model": "gpt-x", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@pytest.fixture
async def client(provider):
    async with AsyncOpenAI(api_key="sk-test", base_url=provider.base_url, max_retries=0, timeout=5) as opened:
        yield opened


async def read(client, **options):
    """The text, finish reason and usage of a streamed answer."""
    text, finish, usage = "", None, None
    async with await client.chat.completions.create(**{**ASK, **options}) as stream:
        async for chunk in stream:
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
            usage = chunk.usage or usage
    return text, finish, usage


async def test_unscripted_model_answers(client, provider):
    text, finish, usage = await read(client)
    assert (text, finish, usage.prompt_tokens, usage.completion_tokens) == (faults.TEXT, "stop", 3, 4)
    assert provider.hits == {"gpt-x": 1}
    assert provider.calls[0].headers["Authorization"] == "Bearer sk-test"


async def test_script_is_used_up_by_model_and_its_last_reply_stays(client, provider):
    provider.script("gpt-x", faults.answers("one"), faults.answers("two"))
    provider.script("gpt-y", faults.answers("other"))
    texts = [(await read(client, model=model))[0] for model in ("gpt-x", "gpt-y", "gpt-x", "gpt-x")]
    assert texts == ["one", "other", "two", "two"]
    assert provider.hits == {"gpt-x": 3, "gpt-y": 1}
    assert len(provider.gaps("gpt-x")) == 2


@pytest.mark.parametrize("status", [400, 401, 408, 409, 429, 500, 503, 529])
async def test_refusal_has_its_status_and_quotes_the_key(client, provider, status):
    provider.script("gpt-x", faults.refuses(status, code="context_length_exceeded"))
    with pytest.raises(APIError) as raised:
        await read(client)
    assert raised.value.status_code == status
    assert raised.value.code == "context_length_exceeded"
    assert "sk-test" in str(raised.value)


async def test_retry_after_comes_in_all_its_forms(client, provider):
    provider.script(
        "gpt-x",
        faults.refuses(429, retry_after="7"),
        faults.refuses(429, retry_after_ms="250"),
        faults.refuses_until(429, 60),
    )
    headers = []
    for _ in range(3):
        with pytest.raises(RateLimitError) as raised:
            await read(client)
        headers.append(raised.value.response.headers)
    assert headers[0]["retry-after"] == "7"
    assert headers[1]["retry-after-ms"] == "250"
    assert 50 < parsedate_to_datetime(headers[2]["retry-after"]).timestamp() - time.time() <= 60


@pytest.mark.parametrize("reply", [faults.resets_before_headers(), faults.resets_after_headers(), faults.is_cut()])
async def test_reset_is_seen_as_a_broken_connection(client, provider, reply):
    provider.script("gpt-x", reply)
    with pytest.raises((APIConnectionError, OSError, aiohttp.ClientError)) as raised:
        await read(client)
    assert not isinstance(raised.value, TimeoutError)


@pytest.mark.parametrize("done", [True, False])
async def test_early_end_has_text_and_no_finish_reason(client, provider, done):
    provider.script("gpt-x", faults.ends_early(done=done))
    assert await read(client) == (faults.TEXT, None, None)


@pytest.mark.parametrize("make", [faults.is_slow, faults.is_silent, faults.stalls])
async def test_slow_answers_are_slow_and_complete(client, provider, make):
    provider.script("gpt-x", make(0.3))
    begun = time.monotonic()
    assert (await read(client))[:2] == (faults.TEXT, "stop")
    assert time.monotonic() - begun >= 0.3


async def test_malformed_chunk_is_no_json(client, provider):
    provider.script("gpt-x", faults.is_malformed())
    with pytest.raises(json.JSONDecodeError):
        await read(client)


async def test_error_event_is_an_error(client, provider):
    provider.script("gpt-x", faults.errs_in_stream())
    with pytest.raises(APIError, match="overloaded"):
        await read(client)


async def test_usage_may_be_missing_zero_or_partly_cached(client, provider):
    provider.script(
        "gpt-x", faults.without_usage(), faults.with_zero_usage(), faults.with_cached_tokens(sent=100, cached=60)
    )
    missing, zero, cached = [(await read(client))[2] for _ in range(3)]
    assert missing is None
    assert (zero.prompt_tokens, zero.completion_tokens) == (0, 0)
    assert (cached.prompt_tokens, cached.prompt_tokens_details.cached_tokens) == (100, 60)


@pytest.mark.parametrize("arguments", [{"city": "Oslo"}, '{"city": ', "", "[1]"])
async def test_tool_call_comes_in_pieces_as_told(client, provider, arguments):
    provider.script("gpt-x", faults.calls_tools(("call-1", "weather", arguments), ("call-2", "orders", {})))
    collected = {}
    async with await client.chat.completions.create(**ASK) as stream:
        async for chunk in stream:
            for call in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
                name, text = collected.get(call.index, ("", ""))
                collected[call.index] = (name + (call.function.name or ""), text + (call.function.arguments or ""))
    expected = arguments if isinstance(arguments, str) else json.dumps(arguments)
    assert collected == {0: ("weather", expected), 1: ("orders", "{}")}


async def test_repeated_chunks_bring_the_usage_twice(client, provider):
    provider.script("gpt-x", faults.repeats_deltas())
    text, finish, usage = await read(client)
    assert (text, finish, usage.completion_tokens) == (faults.TEXT, "stop", 4)


async def test_huge_answer_is_as_long_as_told(client, provider):
    provider.script("gpt-x", faults.is_huge(2))
    text, finish, _ = await read(client)
    assert (len(text), finish) == (2 * 1024 * 1024, None)


async def test_client_that_leaves_is_noticed(client, provider):
    provider.script("gpt-x", faults.stalls(30))
    asking = asyncio.create_task(read(client))
    await provider.until(lambda: provider.in_flight == 1)
    asking.cancel()
    await provider.until(lambda: provider.left["gpt-x"] == 1)
    assert provider.in_flight == 0
