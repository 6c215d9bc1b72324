"""Questions of one key whose answers may not be kept, each under way until it is told to end."""

from __future__ import annotations

import asyncio

import pytest

from agent_runtime.cache.answers import AnswerCache


@pytest.fixture
async def begin():
    """Begins questions; each ends when its event is set, or else with the test."""
    begun = []

    def start(cache, running, *, seconds=30.0):
        end = asyncio.Event()
        begun.append((asyncio.create_task(_forgo(cache, running, end, seconds)), end))
        return begun[-1]

    yield start
    # Not cancelled: the store in memory makes nothing of that.
    for _, end in begun:
        end.set()
    for task, _ in begun:
        if not task.cancelled():
            await task


async def _forgo(cache: AnswerCache, running: list[AnswerCache], end: asyncio.Event, seconds: float) -> None:
    async with cache.claim("k", seconds) as claim:
        assert claim.hit is None
        running.append(cache)
        await end.wait()
        claim.forgo()


async def until(condition):
    """Wait for a condition, looked at in every turn of the loop; raises TimeoutError."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


def asked(cache: AnswerCache) -> int:
    """How many questions of the key this process has now."""
    return cache._flights["k"].asked if "k" in cache._flights else 0
