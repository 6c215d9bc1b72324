"""Answers from memory, with one run at a time for the same question, in this process and over all pods.

Whatever the store does, a question is answered: without it every question is new.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import orjson
import structlog
from redis.exceptions import RedisError

from agent_runtime.store.circuit import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent_runtime.store.connection import Store

MAX_ANSWER_BYTES = 256 * 1024
LEASE_SECONDS = 20.0
"""How long a pod that runs a question keeps the others waiting; one that dies keeps them no longer."""

MAX_WAIT_SECONDS = 30.0
"""How long a question waits for another run of it before it is run as well."""

_FIRST_LOOK_SECONDS = 0.05
_LAST_LOOK_SECONDS = 0.5
_FORM = 1
_TAKE = """
local answer = redis.call('GET', KEYS[1])
if answer then return {answer, redis.call('PTTL', KEYS[1]), 0} end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, 0, 1} end
return {false, 0, 0}
"""
"""The answer, else the lease of who may run. KEYS: 1 answer, 2 lease. ARGV: 1 token, 2 milliseconds of the lease"""

_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_AWAY = (StoreUnavailable, RedisError)
_log = structlog.get_logger("agent_runtime.cache")


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """What an answer is given again from; `text` is as it was sent, after the guard of answers."""

    text: str
    model: str
    iterations: int = 1


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer from memory and its age."""

    answer: CachedAnswer
    age_seconds: float


def cacheable(finish_reason: str, tool_calls: int) -> bool:
    """Whether a run's answer may be given again: complete, and made without tools, which may have done something."""
    return finish_reason == "stop" and tool_calls == 0


def encode_answer(answer: CachedAnswer) -> bytes:
    """The answer as the store keeps it."""
    return orjson.dumps({"form": _FORM, **asdict(answer)})


def decode_answer(value: bytes) -> CachedAnswer | None:
    """The answer that the store kept; None if it is none that this release can read."""
    try:
        members = orjson.loads(value)
        if members.pop("form") != _FORM:
            return None
        answer = CachedAnswer(**members)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None
    return answer


@dataclass(slots=True)
class _Flight:
    """Questions of one key in this process."""

    lock: asyncio.Lock
    asked: int = 0
    landed: Hit | None = None
    landed_at: float = 0.0


class Claim:
    """A question's turn: `hit` is its answer, or None if it is to be run and then put."""

    def __init__(self, cache: AnswerCache, key: str, hit: Hit | None) -> None:
        self.hit = hit
        self._cache = cache
        self._key = key

    async def put(self, answer: CachedAnswer) -> None:
        """Keep the answer, for those who wait as well."""
        await self._cache.land(self._key, answer)


class AnswerCache:
    """Answers of one agent, kept for a time."""

    def __init__(self, store: Store, ttl_seconds: float) -> None:
        self._store = store
        self._ttl = max(round(ttl_seconds * 1000), 1)
        self._take = store.script(_TAKE)
        self._release = store.script(_RELEASE)
        self._flights: dict[str, _Flight] = {}

    def _hit(self, value: bytes | None, remaining: int) -> Hit | None:
        answer = None if value is None else decode_answer(value)
        # The age is measured on the store's clock: those of two pods may differ.
        return None if answer is None else Hit(answer, max(self._ttl - int(remaining), 0) / 1000)

    async def put(self, key: str, answer: CachedAnswer) -> bool:
        """Keep an answer; False if it is too large, or the store is away."""
        value = encode_answer(answer)
        if len(value) > MAX_ANSWER_BYTES:
            return False
        try:
            await self._store.client.set(self._answer_key(key), value, px=self._ttl)
        except _AWAY:
            return False
        return True

    async def land(self, key: str, answer: CachedAnswer) -> None:
        """Keep an answer and give it to those of this process who wait for it, also while the store is away."""
        flight = self._flights.get(key)
        if flight is not None:
            flight.landed, flight.landed_at = Hit(answer, 0.0), asyncio.get_running_loop().time()
        await self.put(key, answer)

    @asynccontextmanager
    async def claim(self, key: str, wait_seconds: float) -> AsyncIterator[Claim]:
        """Answer of a question, or its turn to be run.

        Waits for another run of the same question, at most `wait_seconds`, then lets this one be run as well. Leaving
        without a put lets the next one that waits run.
        """
        deadline = asyncio.get_running_loop().time() + min(max(wait_seconds, 0.0), MAX_WAIT_SECONDS)
        flight = self._flights.setdefault(key, _Flight(asyncio.Lock()))
        flight.asked += 1
        try:
            alone = not await _acquired(flight.lock, deadline)
            try:
                async with self._turn(key, flight, deadline, alone=alone) as claim:
                    yield claim
            finally:
                if not alone:
                    flight.lock.release()
        finally:
            flight.asked -= 1
            if flight.asked == 0:
                self._flights.pop(key, None)

    @asynccontextmanager
    async def _turn(self, key: str, flight: _Flight, deadline: float, *, alone: bool) -> AsyncIterator[Claim]:
        hit = self._landed(flight)
        token = None
        if hit is None:
            hit, token = await self._from_pods(key, 0.0 if alone else deadline)
        try:
            yield Claim(self, key, hit)
        finally:
            if token is not None:
                await self._give_back(key, token)

    def _landed(self, flight: _Flight) -> Hit | None:
        if flight.landed is None:
            return None
        age = asyncio.get_running_loop().time() - flight.landed_at
        return Hit(flight.landed.answer, age) if age * 1000 < self._ttl else None

    async def _from_pods(self, key: str, deadline: float) -> tuple[Hit | None, str | None]:
        """Answer of this or another pod, or the lease; neither once the deadline passed or the store is away."""
        loop, token, pause = asyncio.get_running_loop(), secrets.token_hex(8), _FIRST_LOOK_SECONDS
        while True:
            try:
                hit, leased = await self._look(key, token)
            except _AWAY:
                return None, None
            if hit is not None or leased:
                return hit, token if leased else None
            remaining = deadline - loop.time()
            if remaining <= 0:
                return None, None
            await asyncio.sleep(min(pause, remaining))
            pause = min(pause * 2, _LAST_LOOK_SECONDS)

    async def _look(self, key: str, token: str) -> tuple[Hit | None, bool]:
        """Answer under a key, or whether this token now has the lease of it."""
        milliseconds = round(LEASE_SECONDS * 1000)
        value, remaining, leased = await self._take(
            [self._answer_key(key), self._lease_key(key)], [token, milliseconds]
        )
        hit = self._hit(value, remaining)
        if value is not None and hit is None:
            # What this release cannot read is as good as none.
            leased = await self._store.client.set(self._lease_key(key), token, nx=True, px=milliseconds)
        return hit, bool(leased)

    async def _give_back(self, key: str, token: str) -> None:
        try:
            await self._release([self._lease_key(key)], [token])
        except _AWAY:
            _log.info("lease of a cached answer is left to expire")

    def _answer_key(self, key: str) -> str:
        return self._store.key("cache", key)

    def _lease_key(self, key: str) -> str:
        return self._store.key("cache", key, "lease")


async def _acquired(lock: asyncio.Lock, deadline: float) -> bool:
    if not lock.locked():
        return await lock.acquire()
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        return False
    return True
