"""Pods that spend one budget and are killed, callers who ask whichever is there, and what the ledger says of it all.

Each run has a user of its own, so that the ledger's sum of that user's day is its account of that run.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agent_runtime.money.ledger import TEND_SECONDS
from tests.support.billing import Biller
from tests.support.redis import RedisServer
from tests.support.runtimes import Pod, Runtimes, document_of

MICRO_A_RUN = 550_000
"""What a run costs on average."""

WATCH_SECONDS = 0.05


@dataclass(frozen=True)
class Ended:
    """How a run ended: status 0 if its pod died under it or was not there; cost as the answer said."""

    run: str
    status: int
    problem: str = ""
    cost_micro: int = 0


@dataclass(frozen=True)
class Books:
    """The ledger, read in the store itself; sums in micro-dollars.

    `holds` are the worst cases of calls that were never settled, `listed` counts those whose lease was not seen to end.
    """

    total: int
    by_user: dict[str, int]
    holds: tuple[int, ...]
    listed: int

    def charged(self, run: str) -> int:
        """What a run was charged."""
        return self.by_user.get(hashlib.sha256(run.encode()).hexdigest()[:24], 0)


class Chaos:
    """Everything that shares one budget."""

    def __init__(
        self, runtimes: Runtimes, redis: RedisServer, biller: Biller, http: aiohttp.ClientSession, daily_micro: int
    ) -> None:
        self.document = document_of(biller.endpoint(), retry={"maxAttempts": 2})
        self.daily_micro = daily_micro
        self.biller = biller
        self.redis = redis
        self.pods: list[Pod] = []
        self.ended: list[Ended] = []
        self.kills = 0
        self.highest = 0
        """Highest sum that the ledger ever said."""

        self.overdue = 0.0
        """Longest time that a hold was listed after the end of its lease."""

        self.live: dict[str, Any] = {"budgets": {"dailyMicro": daily_micro}}
        self._runtimes = runtimes
        self._http = http
        self._numbers = itertools.count()
        self._chance = random.Random(biller.chance.random())
        self._stopping = asyncio.Event()
        self._prefix = f"{{greylag:{self.document['namespace']}}}:{self.document['agent']}:ledger"

    def statuses(self) -> Counter[str]:
        """Runs by status, of problems with their name."""
        return Counter(f"{run.status} {run.problem}".strip() for run in self.ended)

    async def start(self, count: int) -> None:
        """Start pods, side by side."""
        await asyncio.gather(*(self._start() for _ in range(count)))

    async def _start(self) -> None:
        pod = self._runtimes.launch(self.document, live=self.live, store=self.redis)
        await until(lambda: self._lives(pod))
        self.pods.append(pod)

    async def _lives(self, pod: Pod) -> bool:
        try:
            async with self._http.get(f"{pod.url}/health") as response:
                return response.status == HTTPStatus.OK
        except aiohttp.ClientError:
            return False

    async def kill_one(self) -> None:
        """End a pod as a lost node does, and start another."""
        pod = self.pods.pop(self._chance.randrange(len(self.pods)))
        pod.kill()
        self.kills += 1
        await self._start()

    def set_live(self, **parts: Any) -> None:
        """Replace parts of the live document, for every pod."""
        self.live = {**self.live, **parts}
        for pod in self.pods:
            pod.set_live(**self.live)

    async def report(self, pod: Pod | None = None) -> dict[str, Any] | None:
        """What a pod, by default any one, tells the operator; None if it does not answer."""
        try:
            async with self._http.get(f"{(pod or self._chance.choice(self.pods)).url}/report") as response:
                found: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, IndexError):
            return None
        return found

    async def is_lost_on_every_pod(self) -> bool:
        """Whether every pod has found out that the ledger is lost."""
        reports = [await self.report(pod) for pod in self.pods]
        return all(report is not None and report["ledgerLost"] for report in reports)

    async def is_answering(self) -> bool:
        """Whether every pod knows what was spent."""
        reports = [await self.report(pod) for pod in self.pods]
        return all(report is not None and report["spend"] is not None for report in reports)

    async def is_idle(self) -> bool:
        """Whether no call is under way."""
        return self.biller.in_flight == 0

    async def until_billed(self, share: float) -> None:
        """Wait until the provider has billed so much of the budget."""

        async def reached() -> bool:
            return self.biller.bills.total() >= share * self.daily_micro

        await until(reached)

    async def until_ended(self, status: str, count: int) -> None:
        """Wait until so many more runs have ended in this way."""
        wanted = self.statuses()[status] + count

        async def reached() -> bool:
            return self.statuses()[status] >= wanted

        await until(reached)

    @asynccontextmanager
    async def callers(self, count: int) -> AsyncIterator[None]:
        """So many runs at a time while the block runs; then those under way end."""
        self._stopping.clear()
        async with asyncio.TaskGroup() as tasks:
            callers = [tasks.create_task(self._call()) for _ in range(count)]
            tasks.create_task(self._watch(callers))
            try:
                yield
            finally:
                self._stopping.set()

    async def _call(self) -> None:
        while not self._stopping.is_set():
            ended = await self._run(f"run-{next(self._numbers)}")
            self.ended.append(ended)
            if ended.status != HTTPStatus.OK:
                await asyncio.sleep(self._chance.uniform(0.2, 0.6))

    async def _run(self, name: str) -> Ended:
        headers = {"x-request-id": name, "x-user-id": name}
        try:
            url = f"{self._chance.choice(self.pods).url}/agent/run"
            async with self._http.post(url, json={"query": "hi"}, headers=headers) as response:
                body = await response.json(content_type=None)
        except (aiohttp.ClientError, IndexError):
            return Ended(name, 0)
        if response.status == HTTPStatus.OK:
            return Ended(name, response.status, cost_micro=round(float(body["cost_usd"]) * 1e6))
        return Ended(name, response.status, body["type"].rpartition(":")[2])

    async def _watch(self, callers: list[asyncio.Task[None]]) -> None:
        async with Redis(port=self.redis.port, socket_timeout=1, decode_responses=True) as redis:
            while not all(caller.done() for caller in callers):
                with suppress(RedisError, OSError):
                    sums = [int(await redis.hget(day, "a") or 0) for day in await redis.keys(f"{self._prefix}:day:*")]
                    self.highest = max(self.highest, sum(sums))
                    oldest: Any = await redis.zrange(f"{self._prefix}:holds", 0, 0, withscores=True)
                    self.overdue = max([self.overdue, *(time.time() - ends for _, ends in oldest)])
                await asyncio.sleep(WATCH_SECONDS)

    async def settled(self) -> Books:
        """The books once living pods have settled everything: each odd sum is a hold of a pod that is gone."""
        books, since = self.books(), time.monotonic()

        async def explained() -> bool:
            nonlocal books, since
            before, books = books, self.books()
            if books != before:
                since = time.monotonic()
            # A living pod may still have one to make up for, and nobody sees that from outside.
            quiet = time.monotonic() - since > 2 * TEND_SECONDS
            return quiet and len(odd_runs(self, books)) == len(books.holds)

        await until(explained)
        return books

    async def holds_listed(self, count: int) -> bool:
        """Whether so many holds are listed."""
        return self.books().listed == count

    def books(self) -> Books:
        """What the ledger says now."""
        with self.redis.admin(decode_responses=True) as redis:
            days, users, holds = (redis.keys(f"{self._prefix}:{kind}:*") for kind in ("day", "user", "hold"))
            states, sums = (redis.mget(keys) if keys else [] for keys in (holds, users))
            return Books(
                total=sum(int(redis.hget(day, "a") or 0) for day in days),
                by_user={key.rpartition(":")[2]: int(spent) for key, spent in zip(users, sums, strict=True)},
                holds=tuple(int(state.split()[1]) for state in states if state and state.startswith("h")),
                listed=redis.zcard(f"{self._prefix}:holds"),
            )

    def end_leases(self) -> None:
        """Let the time of every lease be over."""
        with self.redis.admin() as redis:
            for hold in redis.zrange(f"{self._prefix}:holds", 0, -1):
                redis.zadd(f"{self._prefix}:holds", {hold: time.time() - 1})


def odd_runs(chaos: Chaos, books: Books) -> list[Ended]:
    """Runs that were charged another sum than the provider billed."""
    return [run for run in chaos.ended if books.charged(run.run) != chaos.biller.bills[run.run]]


def check_books(chaos: Chaos, books: Books) -> None:
    """What a run was charged is what the provider billed; else it is a hold that nobody was left to settle."""
    bills, odd = chaos.biller.bills, odd_runs(chaos, books)
    assert Counter(books.charged(run.run) for run in odd) == Counter(books.holds)
    assert [run for run in odd if books.charged(run.run) < bills[run.run]] == []
    assert set(bills) - {run.run for run in chaos.ended} == set()
    answered = [run for run in chaos.ended if run.status == HTTPStatus.OK]
    assert [run for run in answered if run.cost_micro != bills[run.run]] == []
    assert books.total == sum(books.by_user.values())
    assert bills.total() <= books.total <= chaos.daily_micro


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.05)
