"""Budgets, limits and breakers on the store in memory: the same scripts, for local development."""

from __future__ import annotations

import asyncio

import pytest

from agent_api.live_document import BudgetsDocument, LedgerDocument, LiveDocument, RateLimitsDocument
from agent_api.runtime_document import BreakerDocument, EndpointDocument, RetryDocument, RuntimeDocument
from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.core.loop import Message
from agent_runtime.limits.admission import Admission, Limited
from agent_runtime.llm.breaker import Breakers
from agent_runtime.llm.client import BudgetExceeded, EndpointFailed, EndpointRefused, ModelRequest, Run
from agent_runtime.money.ledger import Payer, SpendLedger
from agent_runtime.store.connection import open_memory_store

REVISION = "support-5c9f0a1b2d"


@pytest.fixture
async def store():
    opened = open_memory_store("team-a", "support")
    yield opened
    await opened.aclose()


async def test_ledger_holds_settles_and_is_seeded(store):
    live = LiveDocument(budgets=BudgetsDocument(request_micro=1000, user_daily_micro=1500, daily_micro=2000))
    ledger = SpendLedger(store, REVISION, lambda: live)
    hold = await ledger.reserve(Payer("run-1", "ann"), 1000, 10, 60)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(Payer("run-2", "ann"), 1000, 10, 60)
    await ledger.settle(hold, 300, 3)
    report = await ledger.spend()
    assert report.spent_micro == 300
    live = live.model_copy(
        update={"ledger": LedgerDocument(epoch=report.epoch, seed="epoch-2", day=report.day, spent_micro=900)}
    )
    assert (await ledger.spend()).spent_micro == 900
    await ledger.aclose()


async def test_admission_counts(store):
    admission = Admission(store)
    limits = RateLimitsDocument(requests_per_minute=3, per_user_per_minute=2, max_concurrent=5)
    tickets = [await admission.admit(f"run-{number}", "ann", limits, 30) for number in range(2)]
    with pytest.raises(Limited) as raised:
        await admission.admit("run-3", "ann", limits, 30)
    assert raised.value.scope == "user"
    for ticket in tickets:
        await admission.release(ticket)


async def test_breaker_opens_and_closes(store):
    endpoint = EndpointDocument(
        model="gpt-x",
        base_url="http://model/v1",
        max_output_tokens=10,
        first_token_seconds=1,
        idle_seconds=1,
        total_seconds=1,
    )
    document = RuntimeDocument(
        agent="support",
        revision=REVISION,
        instructions="",
        max_iterations=1,
        timeout_seconds=60,
        endpoints=(endpoint,),
        retry=RetryDocument(max_attempts=1, base_delay_seconds=1, max_delay_seconds=1),
        breaker=BreakerDocument(failure_threshold=1, recovery_seconds=60),
    )

    class Down:
        async def complete(self, request):
            raise EndpointFailed("gpt-x", Fault(FaultKind.UNAVAILABLE, 503))

    request = ModelRequest((Message("user", "hi"),), Run("run-1", asyncio.get_running_loop().time() + 60))
    with pytest.raises(EndpointFailed):
        await Breakers(document, store).client(0, Down()).complete(request)
    with pytest.raises(EndpointRefused):
        await Breakers(document, store).client(0, Down()).complete(request)
