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

OPEN_SECONDS = 30.0
"""How long a key stays open after a run whose answer may not be kept: its questions are run at once, side by side."""

_FIRST_LOOK_SECONDS = 0.05
_LAST_LOOK_SECONDS = 0.5
_FORM = 1
_OPEN = "open"
_TAKE = """
local lease = KEYS[#KEYS]
local answer = #KEYS > 1 and redis.call('GET', KEYS[1])
if answer then return {answer, redis.call('PTTL', KEYS[1]), 0, 0} end
if redis.call('SET', lease, ARGV[1], 'NX', 'PX', ARGV[2]) then return {false, 0, 1, 0} end
if redis.call('GET', lease) == ARGV[3] then return {false, 0, 0, redis.call('PTTL', lease)} end
return {false, 0, 0, 0}
"""
"""The answer and its milliseconds, else whether the lease was taken, else for how many milliseconds the key is open.

KEYS: the answer, left out if it cannot be read; the lease. ARGV: 1 token, 2 milliseconds of the lease, 3 what an open
key has for a lease.
"""

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
    """Questions of one key in this process, named by their tokens: one has the turn, unless the key is open."""

    lock: asyncio.Lock
    asked: int = 0
    holder: str | None = None
    landed: Hit | None = None
    landed_at: float = 0.0
    open_until: float = float("-inf")

    async def turn(self, token: str, deadline: float) -> bool:
        """Wait for the turn; False if it did not come by the deadline, or the key is open and none is needed."""
        if not await _acquired(self.lock, deadline, free=self.asked == 1):
            return False
        self.holder = token
        if asyncio.get_running_loop().time() < self.open_until:
            # Those that wait wake each other up, and then run side by side.
            self.end_turn(token)
        return self.holder == token

    def end_turn(self, token: str | None) -> None:
        """Let the next one have the turn, if this one still has it."""
        if token is not None and self.holder == token:
            self.holder = None
            self.lock.release()

    def open(self, seconds: float) -> None:
        """Open the key for a time: whoever has the turn keeps nobody waiting."""
        self.open_until = max(self.open_until, asyncio.get_running_loop().time() + seconds)
        self.end_turn(self.holder)


class Claim:
    """A question's turn: `hit` is its answer, or None if it is to be run, and its answer then put or forgone."""

    def __init__(self, cache: AnswerCache, key: str, flight: _Flight, hit: Hit | None) -> None:
        self.hit = hit
        self.forgone = False
        self._cache = cache
        self._key = key
        self._flight = flight

    async def put(self, answer: CachedAnswer) -> None:
        """Keep the answer, for those who wait as well; one that the store does not keep is forgone for other pods."""
        self.forgone = not await self._cache.land(self._key, answer)

    def forgo(self) -> None:
        """Note that the answer may not be kept: it is no use to wait for one, now and for OPEN_SECONDS.

        Other pods learn it when the claim is left.
        """
        self.forgone = True
        self._flight.open(OPEN_SECONDS)


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

    async def land(self, key: str, answer: CachedAnswer) -> bool:
        """Keep an answer and give it to those of this process who wait for it, also if the store does not keep it."""
        flight = self._flights.get(key)
        if flight is not None:
            flight.landed, flight.landed_at = Hit(answer, 0.0), asyncio.get_running_loop().time()
        return await self.put(key, answer)

    @asynccontextmanager
    async def claim(self, key: str, wait_seconds: float) -> AsyncIterator[Claim]:
        """Answer of a question, or its turn to be run.

        Waits for another run of the same question, at most `wait_seconds`, then lets this one be run as well. Leaving
        without a put lets the next one that waits run; leaving after `forgo` all of them, and those that come soon.
        """
        deadline = asyncio.get_running_loop().time() + min(max(wait_seconds, 0.0), MAX_WAIT_SECONDS)
        flight, token = self._flights.setdefault(key, _Flight(asyncio.Lock())), secrets.token_hex(8)
        flight.asked += 1
        try:
            if not await flight.turn(token, deadline):
                # Then it waits for no other pod either.
                deadline = 0.0
            async with self._turn(key, flight, token, deadline) as claim:
                yield claim
        finally:
            flight.end_turn(token)
            flight.asked -= 1
            if flight.asked == 0:
                self._flights.pop(key, None)

    @asynccontextmanager
    async def _turn(self, key: str, flight: _Flight, token: str, deadline: float) -> AsyncIterator[Claim]:
        hit, leased = self._landed(flight), False
        if hit is None:
            hit, leased = await self._from_pods(key, flight, token, deadline)
        claim = Claim(self, key, flight, hit)
        try:
            yield claim
        finally:
            if claim.forgone:
                await self._open(key)
            elif leased:
                await self._give_back(key, token)

    def _landed(self, flight: _Flight) -> Hit | None:
        if flight.landed is None:
            return None
        age = asyncio.get_running_loop().time() - flight.landed_at
        return Hit(flight.landed.answer, age) if age * 1000 < self._ttl else None

    async def _from_pods(self, key: str, flight: _Flight, token: str, deadline: float) -> tuple[Hit | None, bool]:
        """Answer of this or another pod, or whether this token has the lease.

        Neither once the deadline passed, the key is open, or the store is away.
        """
        loop, pause = asyncio.get_running_loop(), _FIRST_LOOK_SECONDS
        while True:
            try:
                hit, leased, open_seconds = await self._look(key, token)
            except _AWAY:
                return None, False
            if open_seconds > 0:
                flight.open(open_seconds)
            remaining = deadline - loop.time()
            if hit is not None or leased or open_seconds > 0 or remaining <= 0:
                return hit, leased
            await asyncio.sleep(min(pause, remaining))
            pause = min(pause * 2, _LAST_LOOK_SECONDS)

    async def _look(self, key: str, token: str) -> tuple[Hit | None, bool, float]:
        """Answer under a key, else whether this token now has its lease, else for how many seconds it is open."""
        keys = [self._answer_key(key), self._lease_key(key)]
        arguments: list[str | int] = [token, round(LEASE_SECONDS * 1000), _OPEN]
        value, remaining, leased, open_for = await self._take(keys, arguments)
        hit = self._hit(value, remaining)
        if value is not None and hit is None:
            # What this release cannot read is as good as none.
            _, _, leased, open_for = await self._take(keys[1:], arguments)
        return hit, bool(leased), open_for / 1000

    async def _open(self, key: str) -> None:
        # Whoever has the lease by now: a run may take longer than its lease, and what it found out is true of the key.
        try:
            await self._store.client.set(self._lease_key(key), _OPEN, px=round(OPEN_SECONDS * 1000))
        except _AWAY:
            _log.info("other pods are not told that an answer is not kept")

    async def _give_back(self, key: str, token: str) -> None:
        try:
            await self._release([self._lease_key(key)], [token])
        except _AWAY:
            _log.info("lease of a cached answer is left to expire")

    def _answer_key(self, key: str) -> str:
        return self._store.key("cache", key)

    def _lease_key(self, key: str) -> str:
        return self._store.key("cache", key, "lease")


async def _acquired(lock: asyncio.Lock, deadline: float, *, free: bool) -> bool:
    if free:
        return await lock.acquire()
    try:
        async with asyncio.timeout_at(deadline):
            await lock.acquire()
    except TimeoutError:
        return False
    return True
