"""Days that begin at the wrong time and prices that are wrong, asked of real processes by HTTP (cases 10 and 11)."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tests.support.faulty_provider import with_cached_tokens
from tests.support.runtimes import document_of, endpoint_of, price_of

AZURE = "http://acme.openai.azure.com/v1"


def seconds_to_midnight(zone):
    """As the wall clock counts, whatever a change of clocks does to the day."""
    now = datetime.fromtimestamp(time.time(), UTC).astimezone(ZoneInfo(zone))
    tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), ZoneInfo(zone))
    return tomorrow.timestamp() - now.timestamp()


async def test_case_10_used_up_day_begins_anew_at_midnight_of_its_zone(
    start_runtime, provider, standing_redis, a_dollar, daily, reserve, settled
):
    first, second = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # 25 hours apart: never the same day
    runtime = await start_runtime(a_dollar(provider), store=standing_redis, live=daily(reserve, timeZone=first))
    assert (await runtime.run())[0] == 200
    status, headers, body = await runtime.run()
    assert (status, body["scope"]) == (429, "agent")
    left = seconds_to_midnight(first)
    assert float(body["reset_seconds"]) == pytest.approx(left, abs=30)
    assert headers["retry-after"] == str(body["reset_seconds"])
    await runtime.apply_live(**daily(reserve, timeZone=second))
    status, _, body = await runtime.run()
    assert (status, body["budget"]["spent_today_usd"]) == (200, "0.04")
    assert (
        body["budget"]["day"]
        == datetime.fromtimestamp(time.time(), UTC).astimezone(ZoneInfo(second)).date().isoformat()
    )
    # What was spent in the other day is still known there.
    await runtime.apply_live(**daily(reserve, timeZone=first))
    assert await runtime.spent_micro() == settled
    assert (await runtime.run())[0] == 429


async def test_case_11_cached_tokens_are_charged_once_and_at_their_own_rate(
    start_runtime, provider, standing_redis, daily
):
    provider.script("gpt-5.4", with_cached_tokens(sent=10_000, cached=8_000, received=100))
    document = document_of(endpoint_of("gpt-5.4", AZURE))
    runtime = await start_runtime(document, store=standing_redis, live=daily(10**9), HTTP_PROXY=provider.url)
    _, _, body = await runtime.run()
    # 2.50, 0.25 and 15 dollars a million.
    assert body["cost_usd"] == "0.0085"
    assert await runtime.spent_micro() == 2_000 * 2.5 + 8_000 * 0.25 + 100 * 15


async def test_case_11_cached_tokens_without_a_rate_of_their_own_cost_what_others_do(
    start_runtime, provider, standing_redis, daily
):
    provider.script("gpt-x", with_cached_tokens(sent=1_000, cached=900, received=4))
    document = document_of(endpoint_of("gpt-x", provider.base_url, **price_of(1, 2)))
    runtime = await start_runtime(document, store=standing_redis, live=daily(10**9))
    assert (await runtime.run())[0] == 200
    assert await runtime.spent_micro() == 1_000 + 8
    assert await runtime.metric('cached_tokens_total{model="gpt-x"}') == 900


async def test_case_11_price_is_that_of_a_million_tokens(start_runtime, provider, standing_redis, daily):
    document = document_of(endpoint_of("gpt-x", provider.base_url, **price_of(2.5, 10)))
    runtime = await start_runtime(document, store=standing_redis, live=daily(10**9))
    _, _, body = await runtime.run()
    assert body["cost_usd"] == "0.000048"  # 3 sent at 2.5, 4 answered at 10, rounded up to a micro-dollar


@pytest.mark.parametrize("model", ["gpt-5.4-of-ours", "my-gpt-5.4", "gpt-5-nano-of-ours", "gpt-4.5-preview-large"])
async def test_case_11_model_whose_name_only_begins_like_a_known_one_has_no_price(
    start_runtime, provider, standing_redis, daily, problem, model
):
    document = document_of(endpoint_of(model, AZURE))
    runtime = await start_runtime(document, store=standing_redis, live=daily(10**9), HTTP_PROXY=provider.url)
    answer = await runtime.run()
    assert problem(answer) == (502, "model-unavailable")
    assert "price is not known" in answer[2]["detail"]
    assert provider.hits[model] == 0
