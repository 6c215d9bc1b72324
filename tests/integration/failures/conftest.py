"""Runtime processes on a real Redis, a provider that misbehaves as told, and tools that count their calls."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.support.counted_tools import counted_tools
from tests.support.faulty_provider import FaultyProvider
from tests.support.otlp_sink import served
from tests.support.runtime_fixtures import http, parent, provider, start_runtime
from tests.support.runtimes import document_of, endpoint_of, price_of
from tests.support.store_fixtures import own_redis, standing_redis

__all__ = ["http", "own_redis", "parent", "provider", "standing_redis", "start_runtime"]

RESERVE = 1_000_000
"""Micro-dollars that a call of `a_dollar` holds at most: its input is free, its answer has at most 100 tokens."""

SETTLED = 40_000
"""Micro-dollars that it takes: the provider counts 4 tokens."""


@dataclass
class GatedProvider(FaultyProvider):
    """Answers nobody before the gate is opened."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def _play(self, request, reply):
        await self.gate.wait()
        return await super()._play(request, reply)


@pytest.fixture
async def gated():
    provider = GatedProvider()
    async with served(provider.handle, "/v1/chat/completions") as url:
        provider.url = url
        yield provider
        provider.gate.set()


@pytest.fixture
async def tools():
    async with counted_tools() as server:
        yield server


@pytest.fixture
def a_dollar():
    """Document of an agent whose every call may cost one dollar, and costs four cents."""

    def build(provider, *further, model="gpt-x", retry=None, **changes):
        first = endpoint_of(model, provider.base_url, **price_of(0, 10_000))
        return document_of(first, *further, retry=retry, **changes)

    return build


@pytest.fixture
def reserve():
    return RESERVE


@pytest.fixture
def settled():
    return SETTLED


@pytest.fixture
def daily():
    """Live document with a limit of the day, in micro-dollars."""

    def build(micro, **budgets):
        return {"budgets": {"dailyMicro": micro, **budgets}}

    return build


def problem_of(answer):
    """Status and name of the problem that an answer is."""
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json", body
    return status, body["type"].removeprefix("urn:greylag:problem:")


@pytest.fixture
def problem():
    return problem_of
