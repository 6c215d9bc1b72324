"""The watch of the process."""

from __future__ import annotations

import asyncio
import time

import structlog

from agent_runtime.telemetry.watch import ProcessWatch, resident_bytes


class Samples:
    def __init__(self):
        self.seen = []
        self.arrived = asyncio.Event()

    def __call__(self, lag, resident):
        self.seen.append((lag, resident))
        self.arrived.set()

    async def until(self, count):
        async with asyncio.timeout(10):
            while len(self.seen) < count:
                self.arrived.clear()
                await self.arrived.wait()


async def test_blocked_loop_shows_as_lag_and_is_remembered():
    samples = Samples()
    watch = ProcessWatch(samples, interval=0.01)
    watch.start()
    await samples.until(1)
    time.sleep(0.2)  # noqa: ASYNC251 - the hiccup that is to be seen
    await samples.until(len(samples.seen) + 2)
    await watch.stop()
    assert samples.seen[-1][0] > 0.1
    assert not watch.alive


async def test_death_of_the_watch_is_told():
    def broken(lag, resident):
        raise ValueError

    watch = ProcessWatch(broken, interval=0.001)
    with structlog.testing.capture_logs() as lines:
        watch.start()
        async with asyncio.timeout(10):
            while watch.alive:
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        await watch.stop()
    assert [line["cause"] for line in lines] == ["ValueError"]


def test_memory_is_that_of_the_process():
    before = resident_bytes()
    ballast = bytearray(64 * 1024 * 1024)
    ballast[::4096] = b"x" * len(ballast[::4096])
    assert resident_bytes() - before > 32 * 1024 * 1024
