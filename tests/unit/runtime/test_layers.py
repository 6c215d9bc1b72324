"""Retry and fallback around a scripted client."""

from __future__ import annotations

import asyncio
import math

import pytest

from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.llm.client import DeadlineExceeded, EndpointFailed, ModelUnavailable
from agent_runtime.llm.fallback import FallbackClient
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
        return RetryingClient(client.model, client, policy, hooks.attempt, lambda: 0.5)

    return build


async def test_success_after_failures_tells_its_attempts(scripted, retrying, hooks, request_within):
    answer = await retrying(scripted([DOWN, DOWN, "hello"])).complete(request_within(math.inf))
    assert (answer.text, answer.attempts) == ("hello", 3)
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


async def test_next_endpoint_answers_and_all_attempts_are_counted(scripted, retrying, hooks, request_within):
    first, second = scripted([DOWN], "first"), scripted([DOWN, "hello"], "second")
    chain = FallbackClient([retrying(first), retrying(second)], hooks.given_up.append)
    answer = await chain.complete(request_within(math.inf))
    assert (answer.model, answer.attempts, hooks.given_up) == ("second", 5, ["first"])


async def test_all_endpoints_down_names_each(scripted, retrying, hooks, request_within):
    chain = FallbackClient([retrying(scripted([DOWN], "a")), retrying(scripted([REFUSED], "b"))], hooks.given_up.append)
    with pytest.raises(ModelUnavailable) as failed:
        await chain.complete(request_within(math.inf))
    assert str(failed.value) == "a: unavailable (status 503) after 3 attempts; b: refused (status 400) after 1 attempt"
    assert failed.value.attempts == 4


async def test_no_endpoint_is_asked_after_the_deadline(scripted, retrying, hooks, request_within):
    first, second = scripted([DOWN], "first"), scripted(["hello"], "second")
    chain = FallbackClient([retrying(first), retrying(second)], hooks.given_up.append)
    with pytest.raises(DeadlineExceeded):
        await chain.complete(request_within(asyncio.get_running_loop().time() - 1))
    assert (first.calls, second.calls) == (1, 0)
