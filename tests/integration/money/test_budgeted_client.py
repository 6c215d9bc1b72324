"""Every attempt is paid for, at the price of the endpoint that was asked."""

from __future__ import annotations

import asyncio

import pytest

from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.core.money import ModelPrice, Rate, worst_case_of
from agent_runtime.llm.budgeted import BudgetedClient
from agent_runtime.llm.client import (
    BudgetExceeded,
    EndpointFailed,
    EndpointRefused,
    LedgerUnavailable,
    StreamBroken,
    Usage,
)

PRICE = ModelPrice(Rate(1_000_000), Rate(2_000_000), cached=Rate(500_000))  # 1 and 2 micro-dollars a token


@pytest.fixture
def budgeted(ledger, live, endpoint, endpoint_document):
    def build(*script, price=PRICE, produced=0, on=ledger, **document):
        model = endpoint(list(script or (Usage(10, 10),)), produced)
        return model, BudgetedClient(endpoint_document(**document), model, price, on, live)

    return build


def most(request, endpoint_document, price=PRICE):
    worst = worst_case_of(request, endpoint_document())
    return price.worst_case(worst.input_tokens, worst.output_tokens)


def sent(request, endpoint_document):
    return worst_case_of(request, endpoint_document()).input_tokens


async def test_answer_carries_its_cost_and_the_run_adds_it_up(budgeted, ledger, live, ask):
    live.limit(daily_micro=10**6)
    _, client = budgeted(Usage(100, 20, 40))
    request = ask()
    answer = await client.complete(request)
    assert answer.cost_micro == 60 + 20 + 40
    await client.complete(request)
    assert (request.run.spent_micro, request.run.tokens) == (240, 240)
    assert (await ledger.spend()).spent_micro == 240


async def test_worst_case_that_does_not_fit_is_not_asked(budgeted, ledger, live, ask):
    live.limit(daily_micro=2000)
    model, client = budgeted()
    with pytest.raises(BudgetExceeded):
        await client.complete(ask())
    assert model.calls == 0
    assert (await ledger.spend()).spent_micro == 0


async def test_case_1_concurrent_runs_never_hold_more_than_the_limit(budgeted, ledger, live, ask, endpoint_document):
    worst = most(ask(), endpoint_document)
    live.limit(daily_micro=worst * 7 + worst - 1)
    model, client = budgeted("hang")
    tasks = [asyncio.create_task(client.complete(ask(f"run-{n}"))) for n in range(60)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    while sum(task.done() for task in tasks) < 53:
        await asyncio.sleep(0.01)
    assert model.calls == 7
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_case_3_price_that_is_not_known_is_refused_with_the_way_out(budgeted, live, ask):
    live.limit(user_daily_micro=10**9)
    model, client = budgeted(price=None)
    with pytest.raises(EndpointRefused, match=r"spec\.model") as raised:
        await client.complete(ask())
    assert raised.value.retry_after is None
    assert model.calls == 0


async def test_without_a_price_and_without_limits_the_run_goes_on_unpriced(budgeted, ledger, ask):
    _, client = budgeted(price=None)
    request = ask()
    answer = await client.complete(request)
    assert answer.cost_micro is None
    assert request.run.unpriced
    assert request.run.tokens == 20
    assert (await ledger.spend()).spent_micro == 0


@pytest.mark.parametrize("usage", [None, Usage(0, 0), Usage(0, 5), Usage(50, 0)])
async def test_case_3_usage_that_is_missing_or_nothing_is_paid_as_reserved(
    budgeted, ledger, live, ask, usage, endpoint_document
):
    live.limit(daily_micro=10**6)
    _, client = budgeted(usage)
    answer = await client.complete(ask())
    assert answer.cost_micro == most(ask(), endpoint_document) == (await ledger.spend()).spent_micro


async def test_case_4_a_dearer_fallback_is_held_at_its_own_price(budgeted, live, ask, endpoint_document):
    live.limit(daily_micro=most(ask(), endpoint_document) + 10)
    dear = ModelPrice(Rate(2_000_000), Rate(4_000_000))
    model, client = budgeted(price=dear)
    with pytest.raises(BudgetExceeded):
        await client.complete(ask())
    assert model.calls == 0
    _, cheap = budgeted()
    await cheap.complete(ask())


async def test_case_5_long_context_is_held_at_its_dearest_rate(budgeted, live, ask):
    tiered = ModelPrice(Rate(1_000_000, ((1000, 10_000_000),)), Rate(0))
    live.limit(daily_micro=10_000)
    model, client = budgeted(price=tiered)
    with pytest.raises(BudgetExceeded):
        await client.complete(ask(text="x" * 1001))
    await client.complete(ask(text="x" * 500))
    assert model.calls == 1


@pytest.mark.parametrize(
    ("failure", "produced", "billed"),
    [
        (Fault(FaultKind.CONNECTION), 0, False),
        (Fault(FaultKind.CREDENTIAL), 0, False),
        (Fault(FaultKind.REFUSED, 400), 0, False),
        (Fault(FaultKind.RATE_LIMITED, 429), 0, False),
        (Fault(FaultKind.UNAVAILABLE, 503), 0, False),
        (Fault(FaultKind.CONNECTION), 30, True),
        (Fault(FaultKind.FIRST_TOKEN_TIMEOUT), 0, True),
        (Fault(FaultKind.IDLE_TIMEOUT), 30, True),
        (Fault(FaultKind.TOTAL_TIMEOUT), 30, True),
        (Fault(FaultKind.CUT), 30, True),
        (Fault(FaultKind.MALFORMED), 30, True),
        (Fault(FaultKind.UNAVAILABLE), 30, True),
        (StreamBroken("gpt-x", Fault(FaultKind.CUT)), 30, True),
    ],
)
async def test_case_6_failed_attempt_pays_for_what_was_read_and_written(
    budgeted, ledger, ask, endpoint_document, failure, produced, billed
):
    _, client = budgeted(failure, produced=produced)
    request = ask()
    with pytest.raises((EndpointFailed, StreamBroken)):
        await client.complete(request)
    expected = sent(request, endpoint_document) + 2 * produced if billed else 0
    assert (await ledger.spend()).spent_micro == request.run.spent_micro == expected


async def test_failed_attempt_never_pays_more_than_was_held(budgeted, ledger, live, ask, endpoint_document):
    live.limit(daily_micro=10**6)
    _, client = budgeted(Fault(FaultKind.CUT), produced=10**6)
    with pytest.raises(EndpointFailed):
        await client.complete(ask())
    assert (await ledger.spend()).spent_micro == most(ask(), endpoint_document)


@pytest.mark.parametrize("produced", [0, 30])
@pytest.mark.parametrize("limited", [True, False])
async def test_case_7_caller_who_went_away_still_pays(
    budgeted, ledger, live, ask, endpoint_document, produced, limited
):
    if limited:
        live.limit(daily_micro=10**6, request_micro=10**6)
    model, client = budgeted("hang", produced=produced)
    request = ask()
    task = asyncio.create_task(client.complete(request))
    await model.hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.aclose()
    expected = sent(request, endpoint_document) + 2 * produced
    assert (await ledger.spend()).spent_micro == request.run.spent_micro == expected


async def test_case_7_settlement_goes_on_when_the_caller_leaves_during_it(
    budgeted, ledger, live, ask, monkeypatch, store
):
    live.limit(daily_micro=10**6)
    _, client = budgeted()
    begun = asyncio.Event()
    settle = ledger.settle

    async def settle_slowly(*arguments):
        await store.client.client_pause(300)
        begun.set()
        await settle(*arguments)

    monkeypatch.setattr(ledger, "settle", settle_slowly)
    task = asyncio.create_task(client.complete(ask()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.aclose()
    assert (await ledger.spend()).spent_micro == 30


async def test_run_is_stopped_by_its_own_cost_between_calls(budgeted, live, ask, endpoint_document):
    request = ask()
    live.limit(request_micro=most(request, endpoint_document) + 100)
    _, client = budgeted(Usage(50, 50), Usage(50, 50))
    await client.complete(request)
    with pytest.raises(BudgetExceeded) as raised:
        await client.complete(request)
    assert raised.value.scope == "request"


async def test_run_is_stopped_by_its_tokens_without_a_price_and_without_the_store(
    budgeted, live, ask, endpoint_document, own_redis, open_at, pod
):
    request = ask()
    live.limit(request_tokens=worst_case_of(request, endpoint_document()).total + 50)
    away = pod(on=open_at(own_redis))
    own_redis.stop()
    _, client = budgeted(Usage(50, 50), price=None, on=away)
    await client.complete(request)
    with pytest.raises((BudgetExceeded, LedgerUnavailable)):
        await client.complete(request)


async def test_money_fails_closed_without_a_store(budgeted, live, ask):
    live.limit(daily_micro=10**9)
    model, client = budgeted(on=None)
    with pytest.raises(LedgerUnavailable):
        await client.complete(ask())
    live.limit()
    await client.complete(ask())
    assert model.calls == 1


async def test_spend_is_counted_without_any_limit(budgeted, ledger, ask, store):
    _, client = budgeted(Usage(100, 20))
    before = await store.client.info("commandstats")
    await client.complete(ask())
    after = await store.client.info("commandstats")
    calls = [
        info.get("cmdstat_evalsha", {}).get("calls", 0) + info.get("cmdstat_eval", {}).get("calls", 0)
        for info in (before, after)
    ]
    assert calls[1] - calls[0] <= 2  # one script, which the server may not have had yet
    assert (await ledger.spend()).spent_micro == 140


async def test_hold_lasts_longer_than_the_call_can(budgeted, live, ask, store):
    live.limit(daily_micro=10**6)
    model, client = budgeted("hang", total_seconds=20)
    task = asyncio.create_task(client.complete(ask(within=100)))
    await model.hanging.wait()
    [(_, ends)] = await store.client.zrange(store.key("ledger", "holds"), 0, -1, withscores=True)
    seconds, micros = await store.client.time()
    assert 45 < ends - (seconds + micros / 1e6) <= 50
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
