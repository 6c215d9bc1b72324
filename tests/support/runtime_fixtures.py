"""Fixtures of runtime processes; a conftest imports those that it needs."""

from __future__ import annotations

import aiohttp
import pytest

from tests.support.faulty_provider import faulty_provider
from tests.support.runtime_parent import runtime_parent
from tests.support.runtimes import Runtime, Runtimes

CLIENT_SECONDS = 90


@pytest.fixture(scope="session")
def parent():
    with runtime_parent() as process:
        yield process


@pytest.fixture
async def http():
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=CLIENT_SECONDS)
    ) as session:
        yield session


@pytest.fixture
async def start_runtime(parent, tmp_path, http):
    """Starts runtimes, which end with the test; each has answered at `ready` when it is given."""
    runtimes = Runtimes(parent, tmp_path)

    async def start(document, *, ready="/ready", **options):
        runtime = Runtime(runtimes.launch(document, **options), http)
        await runtime.until_answers(ready)
        return runtime

    with runtimes.stack:
        yield start


@pytest.fixture
async def provider():
    async with faulty_provider() as server:
        yield server
