"""A cache of answers on a real Redis, and runtime processes that share one."""

from __future__ import annotations

import pytest

from tests.support.counted_tools import counted_tools
from tests.support.forgone_answers import begin
from tests.support.runtime_fixtures import http, parent, provider, start_runtime
from tests.support.store_fixtures import open_at, own_redis, redis_server, standing_redis

__all__ = [
    "begin",
    "http",
    "open_at",
    "own_redis",
    "parent",
    "provider",
    "redis_server",
    "standing_redis",
    "start_runtime",
]


@pytest.fixture
async def tools():
    async with counted_tools() as server:
        yield server
