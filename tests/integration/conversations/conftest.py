"""A real Redis, and the store of one agent on it."""

from __future__ import annotations

import pytest

from agent_runtime.store.connection import open_store
from tests.support.redis import running_redis, write_secret


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis") / "data") as server:
        yield server


@pytest.fixture
async def store(redis_server, tmp_path):
    redis_server.flush()
    opened = open_store(write_secret(tmp_path / "secret", redis_server.url), "team-a", "support")
    yield opened
    await opened.aclose()
