"""A runtime with everything on, on a real Redis, with the simulated provider: what is fuzzed."""

from __future__ import annotations

import pytest

from tests.support.counted_tools import counted_tools
from tests.support.pod import python_module, running
from tests.support.runtime_fixtures import http, parent, start_runtime
from tests.support.runtimes import document_of, endpoint_of, price_of
from tests.support.store_fixtures import standing_redis

__all__ = ["http", "parent", "standing_redis", "start_runtime"]


@pytest.fixture(scope="session")
def model_server(tmp_path_factory):
    log = tmp_path_factory.mktemp("models") / "log.txt"
    with running(python_module("demo.model_server"), log, "/health", LATENCY_MS="0", BAD_PERCENT="0") as server:
        yield server


@pytest.fixture
async def fuzzed(start_runtime, standing_redis, model_server):
    """The runtime; a tool is offered that needs approval."""
    async with counted_tools() as tools:
        document = document_of(
            endpoint_of("good-v1", f"{model_server.url}/v1", **price_of(1, 2)),
            cache={"ttlSeconds": 60, "scope": "User"},
            guards={"maxLength": 100_000, "blockedInput": ["forbidden"]},
            tools=[tools.source()],
            toolPolicy={"default": "RequireApproval"},
        )
        live = {"budgets": {"dailyMicro": 10**15, "requestMicro": 10**12}, "rateLimits": {"maxConcurrent": 10_000}}
        yield await start_runtime(document, store=standing_redis, live=live)
