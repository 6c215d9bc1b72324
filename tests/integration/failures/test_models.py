"""Retries, breakers and timeouts, asked of real processes by HTTP (cases 12 to 15)."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest

from tests.support.faulty_provider import answers, is_silent, is_slow, refuses, resets_before_headers, stalls
from tests.support.runtimes import NOBODY, document_of, endpoint_of

ONCE = {"maxAttempts": 1}


async def test_case_12_upstream_is_hit_exactly_as_often_as_configured(start_runtime, provider, problem):
    for model in ("gpt-x", "gpt-y"):
        provider.script(model, refuses(500))
    document = document_of(
        *(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")), retry={"maxAttempts": 3}
    )
    runtime = await start_runtime(document)
    assert problem(await runtime.run()) == (502, "model-unavailable")
    assert provider.hits == {"gpt-x": 3, "gpt-y": 3}


@pytest.mark.parametrize("fault", [resets_before_headers(), refuses(429, retry_after="0.01"), refuses(503)])
async def test_case_12_no_layer_below_repeats_a_call_by_itself(start_runtime, provider, fault):
    provider.script("gpt-x", fault)
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url), retry=ONCE))
    assert (await runtime.run())[0] == 502
    assert provider.hits["gpt-x"] == 1
    assert await runtime.metric('model_retries_total{model="gpt-x"}') == 0


async def test_case_12_run_makes_no_more_attempts_than_it_may_over_all_models(start_runtime, provider, problem):
    for model in ("gpt-x", "gpt-y"):
        provider.script(model, refuses(500))
    document = document_of(
        *(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")),
        retry={"maxAttempts": 3, "maxAttemptsPerRun": 4},
    )
    runtime = await start_runtime(document)
    assert problem(await runtime.run()) == (502, "attempts-exhausted")
    assert provider.hits == {"gpt-x": 3, "gpt-y": 1}


async def test_case_13_callers_who_leave_do_not_bench_a_healthy_model(start_runtime, provider, standing_redis):
    provider.script("gpt-x", *[is_silent(30)] * 6, answers())
    document = document_of(endpoint_of("gpt-x", provider.base_url), breaker={"failureThreshold": 2})
    runtime = await start_runtime(document, store=standing_redis)

    async def impatient():
        with contextlib.suppress(asyncio.TimeoutError):
            await runtime.run(timeout=aiohttp.ClientTimeout(total=1))

    await asyncio.gather(*(impatient() for _ in range(6)))
    await provider.until(lambda: provider.left["gpt-x"] == 6)
    assert (await runtime.document("/report"))["breakers"] == []
    assert (await runtime.run())[0] == 200


async def test_case_13_runs_that_have_no_time_left_do_not_bench_a_healthy_model(
    start_runtime, provider, standing_redis, problem
):
    provider.script("gpt-x", *[is_silent(30)] * 4, answers())
    document = document_of(
        endpoint_of("gpt-x", provider.base_url), breaker={"failureThreshold": 2}, timeoutSeconds=0.5, retry=ONCE
    )
    runtime = await start_runtime(document, store=standing_redis)
    late = await asyncio.gather(*(runtime.run() for _ in range(4)))
    assert {problem(answer) for answer in late} == {(504, "deadline-exceeded")}
    assert (await runtime.document("/report"))["breakers"] == []
    assert (await runtime.run())[0] == 200


async def test_case_13_with_every_model_left_alone_the_one_that_recovers_first_is_asked(
    start_runtime, provider, standing_redis
):
    provider.script("gpt-x", refuses(429, retry_after="300"), answers("from x"))
    provider.script("gpt-y", refuses(500), answers("from y"))
    document = document_of(
        *(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")),
        breaker={"failureThreshold": 1, "recoverySeconds": 100},
        retry=ONCE,
    )
    runtime = await start_runtime(document, store=standing_redis)
    assert (await runtime.run())[0] == 502
    left = {breaker["model"]: breaker["seconds"] for breaker in (await runtime.document("/report"))["breakers"]}
    # The longest of the recovery and of what the provider asked for.
    assert 250 < left["gpt-x"] <= 300
    assert 60 < left["gpt-y"] <= 100
    status, _, body = await runtime.run()
    assert (status, body["answer"]) == (200, "from y")
    assert provider.hits == {"gpt-x": 1, "gpt-y": 2}


async def test_case_13_model_that_is_left_alone_is_not_asked_while_another_answers(
    start_runtime, provider, standing_redis
):
    provider.script("gpt-x", refuses(500))
    document = document_of(
        *(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")),
        breaker={"failureThreshold": 2},
        retry=ONCE,
    )
    runtime = await start_runtime(document, store=standing_redis)
    assert {(await runtime.run())[2]["model"] for _ in range(6)} == {"gpt-y"}
    assert provider.hits == {"gpt-x": 2, "gpt-y": 6}
    second = await start_runtime(document, store=standing_redis)
    assert (await second.run())[0] == 200
    assert provider.hits["gpt-x"] == 2


FAILS_OVER = {
    "429 without headers": refuses(429),
    "429 that asks for too long a wait": refuses(429, retry_after="3600"),
    "503": refuses(503),
    "401": refuses(401),
    "404": refuses(404),
}


@pytest.mark.parametrize("case", FAILS_OVER)
async def test_case_14_refusal_fails_over_to_the_next_model(start_runtime, provider, case):
    provider.script("gpt-x", FAILS_OVER[case])
    document = document_of(*(endpoint_of(model, provider.base_url) for model in ("gpt-x", "gpt-y")))
    runtime = await start_runtime(document)
    status, _, body = await runtime.run()
    assert (status, body["model"], provider.hits["gpt-y"]) == (200, "gpt-y", 1)
    assert await runtime.metric('model_fallbacks_total{model="gpt-x",to="gpt-y"}') == 1


async def test_case_14_connection_that_is_refused_fails_over(start_runtime, provider):
    document = document_of(endpoint_of("gpt-x", NOBODY), endpoint_of("gpt-y", provider.base_url))
    status, _, body = await (await start_runtime(document)).run()
    assert (status, body["model"]) == (200, "gpt-y")


SILENCES = {
    "no headers": (is_silent(30), "first_token_timeout"),
    "headers and no token": (is_slow(30), "first_token_timeout"),
    "silence in the middle": (stalls(30), "idle_timeout"),
}


@pytest.mark.parametrize("case", SILENCES)
async def test_case_15_silent_model_is_given_up_for_the_next(start_runtime, provider, case):
    reply, result = SILENCES[case]
    provider.script("gpt-x", reply)
    document = document_of(
        endpoint_of("gpt-x", provider.base_url, firstTokenSeconds=0.5, idleSeconds=0.5),
        endpoint_of("gpt-y", provider.base_url),
        retry=ONCE,
    )
    runtime = await start_runtime(document)
    status, _, body = await runtime.run()
    assert (status, body["model"], body["answer"]) == (200, "gpt-y", "Hello, world")
    assert await runtime.metric(f'model_attempts_total{{model="gpt-x",result="{result}"}}') == 1


async def test_case_15_idle_limit_does_not_run_before_the_first_token(start_runtime, provider):
    provider.script("gpt-x", is_slow(1.5))
    endpoint = endpoint_of("gpt-x", provider.base_url, firstTokenSeconds=10, idleSeconds=0.5)
    runtime = await start_runtime(document_of(endpoint, retry=ONCE))
    assert (await runtime.run())[0] == 200


async def test_case_15_overload_by_529_is_tried_again(start_runtime, provider):
    provider.script("gpt-x", refuses(529), answers())
    runtime = await start_runtime(document_of(endpoint_of("gpt-x", provider.base_url)))
    assert (await runtime.run())[0] == 200
    assert provider.hits["gpt-x"] == 2
