"""Budget overshoot: what others let through, asked of real processes by HTTP (cases 1 to 5)."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.faulty_provider import answers, refuses, usage, with_zero_usage, without_usage
from tests.support.runtimes import document_of, endpoint_of, price_of

AZURE = "http://acme.openai.azure.com/v1"
"""A provider of the price table whose pattern takes plain HTTP, reached through a proxy that is ours."""

REFUSED_SECONDS = 40


async def all_but(tasks, count):
    """Wait until so many are left."""
    async with asyncio.timeout(REFUSED_SECONDS):
        while sum(task.done() for task in tasks) < len(tasks) - count:
            await asyncio.sleep(0.01)


async def test_case_01_check_then_charge_lets_no_concurrent_run_through(
    start_runtime, gated, standing_redis, a_dollar, reserve, settled, problem
):
    limit = 7 * reserve + reserve // 2
    runtime = await start_runtime(a_dollar(gated), store=standing_redis, live={"budgets": {"dailyMicro": limit}})
    runs = [asyncio.create_task(runtime.run({"query": "hi", "user_id": f"user-{n}"})) for n in range(400)]
    await all_but(runs, 7)
    await gated.until(lambda: gated.in_flight == 7)
    assert gated.hits["gpt-x"] == 7
    assert await runtime.spent_micro() == 7 * reserve <= limit
    gated.gate.set()
    ended = await asyncio.gather(*runs)
    assert sum(status == 200 for status, _, _ in ended) == 7
    refused = [answer for answer in ended if answer[0] != 200]
    assert {problem(answer) for answer in refused} == {(429, "budget-exceeded")}
    assert {(body["scope"], headers["x-greylag-outcome"]) for _, headers, body in refused} == {("agent", "excluded")}
    assert await runtime.spent_micro() == 7 * settled


async def test_case_01_of_a_users_first_concurrent_runs_no_more_are_let_through_than_his_day_covers(
    start_runtime, gated, standing_redis, a_dollar, reserve
):
    live = {"budgets": {"userDailyMicro": 2 * reserve}}
    runtime = await start_runtime(a_dollar(gated), store=standing_redis, live=live)
    ann = [asyncio.create_task(runtime.run(headers={"x-user-id": "ann"})) for _ in range(30)]
    bob = asyncio.create_task(runtime.run(headers={"x-user-id": "bob"}))
    await all_but(ann, 2)
    await gated.until(lambda: gated.in_flight == 3)
    gated.gate.set()
    assert (await bob)[0] == 200
    refused = [body for status, _, body in await asyncio.gather(*ann) if status == 429]
    assert (len(refused), {body["scope"] for body in refused}) == (28, {"user"})


async def test_case_02_replicas_share_one_budget(
    start_runtime, gated, standing_redis, a_dollar, daily, reserve, settled
):
    document, live = a_dollar(gated), daily(5 * reserve)
    pods = [await start_runtime(document, store=standing_redis, live=live) for _ in range(3)]
    runs = [asyncio.create_task(pods[number % 3].run()) for number in range(150)]
    await all_but(runs, 5)
    await gated.until(lambda: gated.in_flight == 5)
    assert {await pod.spent_micro() for pod in pods} == {5 * reserve}
    gated.gate.set()
    assert sorted(status for status, _, _ in await asyncio.gather(*runs)) == [200] * 5 + [429] * 145
    assert {await pod.spent_micro() for pod in pods} == {5 * settled}


async def test_case_02_replicas_share_one_limit_of_concurrent_runs(
    start_runtime, gated, standing_redis, a_dollar, problem
):
    document, live = a_dollar(gated), {"rateLimits": {"maxConcurrent": 4}}
    pods = [await start_runtime(document, store=standing_redis, live=live) for _ in range(2)]
    runs = [asyncio.create_task(pods[number % 2].run()) for number in range(40)]
    await all_but(runs, 4)
    await gated.until(lambda: gated.in_flight == 4)
    gated.gate.set()
    refused = [answer for answer in await asyncio.gather(*runs) if answer[0] != 200]
    assert (len(refused), {problem(answer) for answer in refused}) == (36, {(429, "rate-limited")})


async def test_case_03_model_without_a_price_is_refused_with_the_way_out(
    start_runtime, provider, standing_redis, daily, problem
):
    runtime = await start_runtime(
        document_of(endpoint_of("gpt-x", provider.base_url)), store=standing_redis, live=daily(10**9)
    )
    answer = await runtime.run()
    assert problem(answer) == (502, "model-unavailable")
    assert "price" in answer[2]["detail"]
    assert "inputPerMillion" in answer[2]["detail"]
    assert provider.hits["gpt-x"] == 0


@pytest.mark.parametrize("reply", [without_usage(), with_zero_usage()], ids=["no usage", "zero usage"])
async def test_case_03_success_that_counts_no_tokens_is_charged_as_reserved(
    start_runtime, provider, standing_redis, a_dollar, daily, reserve, reply
):
    provider.script("gpt-x", reply)
    runtime = await start_runtime(a_dollar(provider), store=standing_redis, live=daily(10 * reserve))
    status, _, body = await runtime.run()
    assert (status, body["cost_usd"]) == (200, "1")
    assert await runtime.spent_micro() == reserve


async def test_case_04_fallback_to_a_dearer_model_is_held_at_its_own_price(
    start_runtime, provider, standing_redis, daily, reserve, settled, problem
):
    cheap = endpoint_of("cheap", provider.base_url, **price_of(0, 100))
    dear = endpoint_of("dear", provider.base_url, **price_of(0, 10_000))
    provider.script("cheap", refuses(500))
    runtime = await start_runtime(document_of(cheap, dear), store=standing_redis, live=daily(reserve // 2))
    answer = await runtime.run()
    assert (problem(answer), provider.hits["dear"]) == ((429, "budget-exceeded"), 0)
    await runtime.apply_live(**daily(2 * reserve))
    status, _, body = await runtime.run()
    assert (status, body["model"], body["cost_usd"]) == (200, "dear", "0.04")
    assert await runtime.spent_micro() == settled
    assert await runtime.metric('agent_cost_usd_total{model="dear"}') == settled / 1e6


async def test_case_05_long_context_is_held_and_charged_at_its_tiers_rate(
    start_runtime, provider, standing_redis, daily, problem
):
    provider.script("gpt-5.4", answers(counted=usage(280_000, 4)))
    document = document_of(endpoint_of("gpt-5.4", AZURE), guards={"maxLength": 100_000})
    live = daily(1_499_999)
    runtime = await start_runtime(document, store=standing_redis, live=live, HTTP_PROXY=provider.url)
    long = "\u20ac" * 100_000  # 300,000 bytes, which are no more tokens; 5 dollars a million above 272,000
    refused = await runtime.run(long)
    assert (problem(refused), provider.hits["gpt-5.4"]) == ((429, "budget-exceeded"), 0)
    await runtime.apply_live(**daily(1_600_000))
    status, _, body = await runtime.run(long)
    assert (status, body["cost_usd"]) == (200, "1.40009")
    assert await runtime.spent_micro() == 1_400_090


async def test_case_05_dearer_tier_of_service_is_held_at_its_rate(start_runtime, standing_redis, daily, problem):
    long = "x" * 10_000

    async def asked(**extra):
        document = document_of(endpoint_of("gpt-5.4", AZURE, extra=extra))
        runtime = await start_runtime(document, store=standing_redis, live=daily(1))
        answer = await runtime.run(long)
        assert problem(answer) == (429, "budget-exceeded")
        return float(answer[2]["detail"].partition("it may cost ")[2].partition(";")[0].rstrip("."))

    standard, priority = await asked(), await asked(service_tier="priority")
    assert standard == pytest.approx(10_100 * 2.5e-6 + 100 * 15e-6, rel=0.02)
    assert priority > 1.5 * standard
