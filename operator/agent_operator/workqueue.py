"""De-duplicating queue of keys with delay and backoff: level-triggered, one worker a key at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 30.0
log = structlog.get_logger(__name__)


class WorkQueue(Generic[K]):
    """Keys that want work. A key added while it is worked on is worked on again afterwards."""

    def __init__(self, work: Callable[[K], Awaitable[float | None]], retried: tuple[type[Exception], ...]) -> None:
        """`work` returns seconds after which to come again, or None; `retried` errors are tried again with backoff."""
        self._work = work
        self._retried = retried
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}

    def add(self, key: K) -> None:
        """Ask for work on a key, now."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on a key in a while; the earliest wish counts."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._queued)

    async def run(self, workers: int) -> None:
        """Work until cancelled; the death of a worker ends all, with its error."""
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._worker(), name=f"worker-{number}")

    def close(self) -> None:
        """Cancel what waits for its time."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    async def _worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._active.add(key)
            try:
                await self._attempt(key)
            finally:
                self._active.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    async def _attempt(self, key: K) -> None:
        try:
            again = await self._work(key)
        except self._retried as error:
            failures = self._failures.get(key, 0) + 1
            self._failures[key] = failures
            delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1)  # noqa: S311
            log.warning("reconcile failed", key=str(key), error=str(error), failures=failures, again_in=round(delay, 1))
            self.add_after(key, delay)
            return
        self._failures.pop(key, None)
        if again is not None:
            self.add_after(key, again)
