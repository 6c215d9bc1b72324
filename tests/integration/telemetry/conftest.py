"""Real servers on loopback."""

from __future__ import annotations

import aiohttp
import pytest

from tests.support.faulty_provider import faulty_provider
from tests.support.otlp_sink import otlp_sink


@pytest.fixture
async def provider():
    async with faulty_provider() as server:
        yield server


@pytest.fixture
async def sink():
    async with otlp_sink() as collector:
        yield collector


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session
