"""De-duplicating queue of keys with delay and backoff: level-triggered, one worker a key at a time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import structlog

from agent_operator.cluster.errors import told

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF = 0.2
LONGEST_BACKOFF = 30.0
URGENT_SECONDS = 5.0
"""A key that wants to be looked at again so soon is in mid-rollout: leases and verdicts cannot wait."""
URGENT_IN_A_ROW = 16
log = structlog.get_logger(__name__)


class WorkQueue(Generic[K]):
    """Keys that want work. A key added while it is worked on is worked on again afterwards.

    Keys that are urgent go before all others, but for one turn in URGENT_IN_A_ROW. Keys of one group (`group_of`) take
    half of the workers at most. What goes wrong with a key is that key's: it is tried again, with backoff, for ever.
    """

    def __init__(
        self, work: Callable[[K], Awaitable[float | None]], group_of: Callable[[K], Hashable] = lambda _key: None
    ) -> None:
        """`work` returns seconds after which to come again, or None."""
        self._work = work
        self._group_of = group_of
        self._urgent: deque[K] = deque()
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._groups: Counter[Hashable] = Counter()
        self._again: dict[K, bool] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._soon: set[K] = set()
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._in_a_row = 0
        self._share = 1

    def add(self, key: K, *, urgent: bool = False) -> None:
        """Ask for work on a key, now; `urgent`: before those that are not."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
            urgent |= key in self._soon
        self._soon.discard(key)
        if key in self._active:
            self._again[key] = urgent or self._again.get(key, False)
            return
        if urgent:
            # It may stand in the other line as well: whoever comes second finds it done.
            self._urgent.append(key)
        elif key not in self._queued:
            self._ready.append(key)
        self._queued.add(key)
        self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Ask for work on a key in a while; the earliest wish counts. What comes back soon is urgent then."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + seconds:
            return
        if timer is not None:
            timer.cancel()
        if seconds <= URGENT_SECONDS and key not in self._failures:
            self._soon.add(key)
        else:
            self._soon.discard(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._queued)

    async def run(self, workers: int) -> None:
        """Work until cancelled; the death of a worker ends all, with its error."""
        self._share = max(1, workers // 2) if workers > 1 else 1
        async with asyncio.TaskGroup() as group:
            for number in range(workers):
                group.create_task(self._worker(), name=f"worker-{number}")

    def close(self) -> None:
        """Cancel what waits for its time."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._soon.clear()

    async def _worker(self) -> None:
        while True:
            key = await self._next()
            group = self._group_of(key)
            self._active.add(key)
            self._groups[group] += 1
            try:
                await self._attempt(key)
            finally:
                self._active.discard(key)
                self._groups[group] -= 1
                if not self._groups[group]:
                    del self._groups[group]
                self._changed.set()
            if key in self._again:
                self.add(key, urgent=self._again.pop(key))

    async def _next(self) -> K:
        while True:
            key = self._take()
            if key is not None:
                return key
            self._changed.clear()
            await self._changed.wait()

    def _take(self) -> K | None:
        """The key whose turn it is; None if there is none that a worker may take."""
        lines = [self._urgent, self._ready]
        if self._in_a_row >= URGENT_IN_A_ROW:
            lines.reverse()
        for line in lines:
            key = self._take_from(line)
            if key is not None:
                self._in_a_row = self._in_a_row + 1 if line is self._urgent else 0
                self._queued.discard(key)
                return key
        return None

    def _take_from(self, line: deque[K]) -> K | None:
        """The first key of a line whose group has a worker left; those before it keep their places."""
        passed: list[K] = []
        found = None
        while line and found is None:
            key = line.popleft()
            if key not in self._queued or key in self._active:
                continue
            group = self._group_of(key)
            if group is not None and self._groups[group] >= self._share:
                passed.append(key)
            else:
                found = key
        line.extendleft(reversed(passed))
        return found

    async def _attempt(self, key: K) -> None:
        try:
            again = await self._work(key)
        except Exception as error:  # noqa: BLE001 - whatever one key's objects lead to must not stop all others
            self._failed(key, error)
            return
        self._failures.pop(key, None)
        if again is not None:
            self.add_after(key, again)

    def _failed(self, key: K, error: Exception) -> None:
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        delay = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 10)) * random.uniform(0.5, 1)  # noqa: S311
        log.warning("reconcile failed", key=str(key), error=told(error), failures=failures, again_in=round(delay, 1))
        self.add_after(key, delay)
