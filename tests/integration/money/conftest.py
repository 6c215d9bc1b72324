"""Ledgers of several pods on a real Redis, and a live document that the test edits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from agent_api.live_document import BudgetsDocument, LedgerDocument, LiveDocument
from agent_api.runtime_document import BreakerDocument, EndpointDocument, RetryDocument, RuntimeDocument
from agent_runtime.core.faults import Fault
from agent_runtime.core.loop import Message
from agent_runtime.llm.client import EndpointFailed, ModelAnswer, ModelRequest, Run, Usage
from agent_runtime.money.ledger import Payer, SpendLedger
from tests.support.store_fixtures import open_at, own_redis, redis_server, standing_redis, store

__all__ = ["open_at", "own_redis", "redis_server", "standing_redis", "store"]

STABLE = "support-5c9f0a1b2d"


@dataclass
class Live:
    """The live document, as all pods read it."""

    document: LiveDocument = field(default_factory=LiveDocument)

    def __call__(self) -> LiveDocument:
        return self.document

    def limit(self, **budgets) -> None:
        self.document = self.document.model_copy(update={"budgets": BudgetsDocument(**budgets)})

    def record(self, **ledger) -> None:
        self.document = self.document.model_copy(update={"ledger": LedgerDocument(**ledger)})

    def canary(self, revision: str) -> None:
        self.document = self.document.model_copy(update={"canary_revision": revision})


@pytest.fixture
def live():
    return Live()


@pytest.fixture
async def pod(store, live):
    """Makes the ledger of one more pod."""
    ledgers = []

    def build(revision=STABLE, on=store, live=live):
        ledgers.append(SpendLedger(on, revision, live))
        return ledgers[-1]

    yield build
    for ledger in ledgers:
        await ledger.aclose()


@pytest.fixture
def ledger(pod):
    return pod()


@pytest.fixture
def payer():
    def build(run="run-1", user="ann", **took):
        return Payer(run, user, **took)

    return build


@dataclass
class Endpoint:
    """A model that answers, fails or hangs as told; the last item of the script stays."""

    script: list = field(default_factory=lambda: [Usage(10, 10)])
    produced: int = 0
    calls: int = 0
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        item = self.script[min(self.calls, len(self.script) - 1)]
        self.calls += 1
        request.run.produced_bytes = self.produced
        if isinstance(item, Fault):
            raise EndpointFailed("gpt-x", item)
        if isinstance(item, Exception):
            raise item
        if item == "hang":
            self.hanging.set()
            await asyncio.Event().wait()
        return ModelAnswer("hello", "gpt-x", "stop", item)


@pytest.fixture
def endpoint():
    return Endpoint


def _endpoint_document(**changes):
    common = {"model": "gpt-x", "base_url": "http://model/v1", "max_output_tokens": 1000}
    times = {"first_token_seconds": 5, "idle_seconds": 5, "total_seconds": 10}
    return EndpointDocument(**{**common, **times, **changes})


@pytest.fixture
def endpoint_document():
    return _endpoint_document


@pytest.fixture
def runtime_document():
    def build(*endpoints, revision=STABLE, **breaker):
        return RuntimeDocument(
            agent="support",
            revision=revision,
            instructions="",
            max_iterations=1,
            timeout_seconds=60,
            endpoints=endpoints or (_endpoint_document(),),
            retry=RetryDocument(max_attempts=1, base_delay_seconds=1, max_delay_seconds=1),
            breaker=BreakerDocument(**breaker),
        )

    return build


@pytest.fixture
def ask():
    def build(run_id="run-1", text="hi", within=30.0, user="ann", run=None, **changes):
        run = run or Run(run_id, asyncio.get_running_loop().time() + within, user)
        return ModelRequest((Message("user", text),), run, **changes)

    return build
