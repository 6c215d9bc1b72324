"""Spend that got lost, and spend that never was, asked of real processes by HTTP (cases 6 to 9)."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from tests.support.faulty_provider import is_cut, is_silent, stalls
from tests.support.runtimes import document_of, endpoint_of, price_of

SILENT = is_silent(60)
PER_TOKEN = 10_000
ONCE = {"maxAttempts": 1}


async def leave_after(runtime, path, body, seen):
    """Ask, read the answer until something is seen in it, and go away."""
    async with runtime.http.post(runtime.url + path, json=body) as response:
        read = b""
        while seen not in read:
            read += await response.content.readany()
        response.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_case_06_part_of_an_answer_is_paid_though_the_rest_failed(
    start_runtime, provider, standing_redis, a_dollar, daily, stream
):
    provider.script("gpt-x", is_cut("Hello, world"))
    document = a_dollar(provider, retry=ONCE)
    runtime = await start_runtime(document, store=standing_redis, live=daily(10**9))
    if stream:
        assert (await runtime.events())[-1]["type"] == "error"
    else:
        assert (await runtime.run())[0] == 502
    assert await runtime.spent_micro() == len("Hello,") * PER_TOKEN
    (line,) = runtime.process.lines("run")
    assert line["cost_micro"] == len("Hello,") * PER_TOKEN


async def test_case_06_call_that_is_cancelled_before_its_first_token_pays_for_its_input(
    start_runtime, provider, standing_redis, daily
):
    provider.script("gpt-x", SILENT)
    document = document_of(endpoint_of("gpt-x", provider.base_url, **price_of(PER_TOKEN, 0)))
    runtime = await start_runtime(document, store=standing_redis, live=daily(10**9))
    asking = asyncio.create_task(runtime.run())
    await provider.until(lambda: provider.in_flight == 1)
    held = await runtime.spent_micro()
    assert held > 0
    asking.cancel()
    await provider.until(lambda: provider.left["gpt-x"] == 1)

    async def told():
        return bool(runtime.process.lines("run"))

    await runtime.until(told, 10)
    assert runtime.process.lines("run")[0]["cost_micro"] == held == await runtime.spent_micro()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/agent/run", {"query": "hi", "stream": True}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}], "stream": True}),
    ],
)
async def test_case_07_client_who_leaves_a_stream_is_recorded_with_what_it_took(
    start_runtime, provider, standing_redis, a_dollar, daily, path, body
):
    provider.script("gpt-x", stalls(60, "Hello, world"))
    runtime = await start_runtime(a_dollar(provider), store=standing_redis, live=daily(10**9))
    await leave_after(runtime, path, body, b"Hello,")
    await provider.until(lambda: provider.left["gpt-x"] == 1)

    async def told():
        return bool(runtime.process.lines("run"))

    await runtime.until(told, 10)
    (line,) = runtime.process.lines("run")
    expected = len("Hello,") * PER_TOKEN
    assert (line["outcome"], line["reason"], line["cost_micro"]) == ("excluded", "client-gone", expected)

    async def settled():
        return await runtime.spent_micro() == expected

    await runtime.until(settled, 10)
    assert await runtime.metric('agent_cost_usd_total{model="unanswered"}') == expected / 1e6


async def test_case_08_hold_of_a_killed_pod_is_charged_when_its_lease_ends_and_refuses_nobody_for_longer(
    start_runtime, gated, standing_redis, a_dollar, daily, reserve, settled
):
    document = a_dollar(gated)
    live = daily(3 * reserve)
    lost = await start_runtime(document, store=standing_redis, live=live)
    other = await start_runtime(document, store=standing_redis, live=live)
    asking = asyncio.create_task(lost.run())
    await gated.until(lambda: gated.in_flight == 1)
    lost.process.kill()
    with pytest.raises(aiohttp.ClientConnectionError):
        await asking
    gated.gate.set()
    assert await other.spent_micro() == reserve
    with standing_redis.admin() as redis:
        holds = f"{{greylag:{document['namespace']}}}:support:ledger:holds"
        ((hold, ends),) = redis.zrange(holds, 0, -1, withscores=True)
        assert 0 < ends - time.time() <= 20 + 30  # its longest call and a margin
        redis.zadd(holds, {hold: time.time() - 1})
        for _ in range(2):
            assert (await other.run())[0] == 200
        assert redis.zcard(holds) == 0
    assert await other.spent_micro() == reserve + 2 * settled
    assert len(other.process.lines("calls were never settled; they are charged in full")) == 1


async def test_case_09_outage_of_the_store_refuses_money_quickly_and_quietly_and_loses_no_settlement(
    start_runtime, gated, own_redis, a_dollar, daily, settled, problem
):
    runtime = await start_runtime(a_dollar(gated), store=own_redis, live=daily(10**9))
    under_way = asyncio.create_task(runtime.run())
    await gated.until(lambda: gated.in_flight == 1)
    own_redis.stop()
    began = time.monotonic()
    refused = [await runtime.run() for _ in range(40)]
    # 2 seconds for the calls that find it out; all others are refused at once.
    assert time.monotonic() - began < 10
    assert {problem(answer) for answer in refused} == {(503, "ledger-unavailable")}
    assert all("retry-after" in headers for _, headers, _ in refused)
    assert gated.hits["gpt-x"] == 1
    assert (await runtime.get("/ready"))[0] == 200
    gated.gate.set()
    assert (await under_way)[0] == 200
    told = [line for line in map(str, runtime.process.output().splitlines()) if '"event": "run"' not in line]
    assert len(told) < 12, told
    own_redis.start()

    async def answered():
        return (await runtime.run())[0] == 200

    await runtime.until(answered, 20)
    answered_runs = 1 + sum(line["outcome"] == "ok" for line in runtime.process.lines("run")[41:])

    async def all_settled():
        return await runtime.spent_micro() == answered_runs * settled

    await runtime.until(all_settled, 20)


async def test_case_09_store_that_freezes_holds_no_run_up_for_long(
    start_runtime, provider, own_redis, a_dollar, daily, problem
):
    runtime = await start_runtime(a_dollar(provider), store=own_redis, live=daily(10**9))
    assert (await runtime.run())[0] == 200
    own_redis.freeze()
    began = time.monotonic()
    refused = await asyncio.gather(*(runtime.run() for _ in range(50)))
    assert time.monotonic() - began < 15
    assert {problem(answer) for answer in refused} == {(503, "ledger-unavailable")}
    own_redis.thaw()

    async def answered():
        return (await runtime.run())[0] == 200

    await runtime.until(answered, 20)


async def test_case_09_without_budgets_an_agent_answers_while_the_store_is_away(start_runtime, provider, own_redis):
    document = document_of(endpoint_of("gpt-x", provider.base_url))
    live = {"rateLimits": {"requestsPerMinute": 600, "maxConcurrent": 50}}
    runtime = await start_runtime(document, store=own_redis, live=live)
    own_redis.stop()
    assert {status for status, _, _ in [await runtime.run() for _ in range(5)]} == {200}
    assert not (await runtime.document("/report"))["store"]["reachable"]


async def seeded(runtime, live, lost, spend):
    """What the operator does for a ledger that was lost: a seed with the day's total as it was recorded."""
    record = {"epoch": lost["epoch"], "sequence": lost["sequence"], "day": spend["day"], "seed": "seed-1"}
    await runtime.apply_live(**live, ledger={**record, "spentMicro": spend["spentMicro"]})


@pytest.mark.parametrize("loss", ["flushed", "older copy"])
async def test_case_09_store_that_lost_its_data_refuses_money_until_it_is_seeded(
    start_runtime, provider, own_redis, a_dollar, daily, problem, loss
):
    settled = 40_000
    live = daily(10**9)
    runtime = await start_runtime(a_dollar(provider), store=own_redis, live=live)
    assert (await runtime.run())[0] == 200
    copy = own_redis.save_copy()
    for _ in range(2):
        assert (await runtime.run())[0] == 200
    spend = (await runtime.document("/report"))["spend"]
    assert spend["spentMicro"] == 3 * settled
    if loss == "flushed":
        own_redis.flush()
    else:
        own_redis.restore_copy(copy)

    async def found_out():
        return (await runtime.document("/report"))["ledgerLost"]

    refused = await runtime.run()
    await runtime.until(found_out, 20)
    assert problem(refused) == problem(await runtime.run()) == (503, "ledger-unavailable")
    assert provider.hits["gpt-x"] == 3
    await seeded(runtime, live, spend, spend)
    assert (await runtime.run())[0] == 200
    assert await runtime.spent_micro() == 4 * settled


async def test_case_09_new_pod_does_not_take_an_emptied_store_for_a_new_one(
    start_runtime, provider, own_redis, a_dollar, daily, problem
):
    document, live = a_dollar(provider), daily(10**9)
    runtime = await start_runtime(document, store=own_redis, live=live)
    assert (await runtime.run())[0] == 200
    spend = (await runtime.document("/report"))["spend"]
    runtime.process.kill()
    own_redis.flush()
    record = {name: spend[name] for name in ("epoch", "sequence", "day", "spentMicro")}
    fresh = await start_runtime(document, store=own_redis, live={**live, "ledger": record})
    assert problem(await fresh.run()) == (503, "ledger-unavailable")


async def test_report_of_a_pod_waits_for_no_store_that_is_known_to_stand_still(
    start_runtime, provider, own_redis, a_dollar, daily
):
    runtime = await start_runtime(a_dollar(provider), store=own_redis, live=daily(10**9))
    own_redis.freeze()

    async def noticed():
        return not (await runtime.document("/report"))["store"]["reachable"]

    await runtime.until(noticed, 20)
    for _ in range(30):
        # The operator waits for two seconds.
        async with asyncio.timeout(2):
            assert await noticed()
        await asyncio.sleep(0.1)
    own_redis.thaw()

    async def back():
        return (await runtime.document("/report"))["spend"] is not None

    await runtime.until(back, 20)
