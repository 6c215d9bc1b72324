"""Fixtures of a store on a real Redis; a conftest imports those that it needs."""

from __future__ import annotations

import pytest

from agent_runtime.store.connection import open_store
from tests.support.redis import running_redis, write_secret


@pytest.fixture(scope="session")
def standing_redis(tmp_path_factory):
    # Nobody restarts this one, so it need not wait for the disk, which tests beside it may keep busy.
    with running_redis(tmp_path_factory.mktemp("redis") / "data", "--appendonly", "no") as server:
        yield server


@pytest.fixture
def redis_server(standing_redis):
    """Shared by tests that leave it running; empty."""
    standing_redis.flush()
    return standing_redis


@pytest.fixture
def own_redis(tmp_path):
    """A server that the test may stop."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def open_at(tmp_path):
    """Opens stores on a server; they end with the test."""
    opened = []

    def build(server, agent="support"):
        store = open_store(write_secret(tmp_path / f"store-{server.port}", server.url), "team-a", agent)
        opened.append(store)
        return store

    yield build
    for store in opened:
        await store.aclose()


@pytest.fixture
def store(open_at, redis_server):
    return open_at(redis_server)
