"""Retry and fallback around a scripted client."""

from __future__ import annotations

import asyncio
import math

import pytest

from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.llm.client import (
    AttemptsExhausted,
    BudgetExceeded,
    DeadlineExceeded,
    EndpointFailed,
    EndpointRefused,
    ModelUnavailable,
    StreamBroken,
)
from agent_runtime.llm.fallback import FallbackClient, Link
from agent_runtime.llm.retry import RetryingClient

DOWN = Fault(FaultKind.UNAVAILABLE, 503)
REFUSED = Fault(FaultKind.REFUSED, 400)


class Hooks:
    def __init__(self):
        self.results = []
        self.given_up = []

    def attempt(self, attempt):
        self.results.append(f"{attempt.model}:{attempt.result}")


@pytest.fixture
def hooks():
    return Hooks()


@pytest.fixture
def retrying(policy, hooks):
    def build(client):
        return RetryingClient(client.model, client, policy, hook=hooks.attempt, chance=lambda: 0.5)

    return build


async def test_success_after_failures_tells_its_attempts(scripted, retrying, hooks, request_within):
    request = request_within(math.inf)
    answer = await retrying(scripted([DOWN, DOWN, "hello"])).complete(request)
    assert (answer.text, request.run.attempts) == ("hello", 3)
    assert hooks.results == ["scripted:unavailable", "scripted:unavailable", "scripted:ok"]


async def test_endpoint_is_asked_as_often_as_configured(scripted, retrying, request_within):
    client = scripted([DOWN])
    with pytest.raises(EndpointFailed) as failed:
        await retrying(client).complete(request_within(math.inf))
    assert client.calls == failed.value.attempts == 3


async def test_refusal_is_not_repeated(scripted, retrying, request_within):
    client = scripted([REFUSED])
    with pytest.raises(EndpointFailed):
        await retrying(client).complete(request_within(math.inf))
    assert client.calls == 1


async def test_cancelled_attempt_is_told(retrying, hooks, request_within):
    class Hanging:
        model = "hanging"

        async def complete(self, request):
            await asyncio.Event().wait()

    task = asyncio.create_task(retrying(Hanging()).complete(request_within(math.inf)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert hooks.results == ["hanging:cancelled"]


@pytest.fixture
def chain_of(retrying, hooks):
    def build(*clients, downgrade=False, prices=None):
        prices = prices or [float(n) for n in range(len(clients))]
        links = [Link(c.model, retrying(c), price) for c, price in zip(clients, prices, strict=True)]
        return FallbackClient(links, lambda model, to: hooks.given_up.append(f"{model}>{to}"), lambda: downgrade)

    return build


async def test_next_endpoint_answers_and_all_attempts_are_counted(scripted, chain_of, hooks, request_within):
    request = request_within(math.inf)
    answer = await chain_of(scripted([DOWN], "first"), scripted([DOWN, "hello"], "second")).complete(request)
    assert (answer.model, request.run.attempts, hooks.given_up) == ("second", 5, ["first>second"])
    assert request.run.fell_back


async def test_first_answer_is_no_fallback(scripted, chain_of, request_within):
    request = request_within(math.inf)
    await chain_of(scripted(["hello"], "first"), scripted(["hello"], "second")).complete(request)
    assert not request.run.fell_back


async def test_all_endpoints_down_names_each(scripted, chain_of, request_within):
    request = request_within(math.inf)
    with pytest.raises(ModelUnavailable) as failed:
        await chain_of(scripted([DOWN], "a"), scripted([REFUSED], "b")).complete(request)
    assert str(failed.value) == "a: unavailable (status 503) after 3 attempts; b: refused (status 400) after 1 attempt"
    assert request.run.attempts == 4


async def test_no_endpoint_is_asked_after_the_deadline(scripted, chain_of, request_within):
    first, second = scripted([DOWN], "first"), scripted(["hello"], "second")
    with pytest.raises(DeadlineExceeded):
        await chain_of(first, second).complete(request_within(asyncio.get_running_loop().time() - 1))
    assert (first.calls, second.calls) == (1, 0)


async def test_run_makes_no_more_attempts_than_it_may_over_all_endpoints(scripted, chain_of, request_within):
    first, second = scripted([DOWN], "first"), scripted([DOWN], "second")
    with pytest.raises(AttemptsExhausted):
        await chain_of(first, second).complete(request_within(math.inf, max_attempts=4))
    assert (first.calls, second.calls) == (3, 1)


async def test_broken_stream_is_neither_repeated_nor_answered_by_another_model(scripted, chain_of, request_within):
    first, second = scripted([StreamBroken("gpt-x", Fault(FaultKind.CUT))], "first"), scripted(["hello"], "second")
    with pytest.raises(StreamBroken):
        await chain_of(first, second).complete(request_within(math.inf))
    assert (first.calls, second.calls) == (1, 0)


async def test_call_that_does_not_fit_ends_the_run(scripted, chain_of, request_within):
    first, second = scripted([BudgetExceeded("agent", "no")], "first"), scripted(["hello"], "second")
    with pytest.raises(BudgetExceeded):
        await chain_of(first, second).complete(request_within(math.inf))
    assert second.calls == 0


async def test_downgrade_goes_on_with_the_cheapest_model_that_is_left(scripted, chain_of, request_within):
    clients = [scripted([BudgetExceeded("agent", "no")], "a"), scripted(["hi"], "b"), scripted(["hi"], "c")]
    answer = await chain_of(*clients, downgrade=True, prices=[9.0, 5.0, 1.0]).complete(request_within(math.inf))
    assert (answer.model, clients[1].calls) == ("c", 0)


async def test_downgrade_with_nothing_that_fits_says_that_the_budget_is_over(scripted, chain_of, request_within):
    clients = [scripted([BudgetExceeded("agent", "no")], name) for name in "ab"]
    with pytest.raises(BudgetExceeded):
        await chain_of(*clients, downgrade=True).complete(request_within(math.inf))


async def test_with_every_breaker_open_the_one_that_recovers_first_is_asked(scripted, chain_of, request_within):
    first = scripted([EndpointRefused("a", "circuit open", 50.0)], "a")
    second = scripted([EndpointRefused("b", "circuit open", 5.0), "hello"], "b")
    answer = await chain_of(first, second).complete(request_within(math.inf))
    assert (answer.model, first.calls, [request.forced for request in second.asked]) == ("b", 1, [False, True])


async def test_refusal_without_a_time_is_not_forced(scripted, chain_of, request_within):
    client = scripted([EndpointRefused("a", "its price is not known")], "a")
    with pytest.raises(ModelUnavailable):
        await chain_of(client).complete(request_within(math.inf))
    assert client.calls == 1
