"""Makes an outage of the store fast and quiet: calls fail at once while it is known to be away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, RedisError, ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError

from agent_api.report import StoreReport
from agent_runtime.slots import take_slot

FAILURES_TO_OPEN = 3
"""Failures in a row, with no answer between them, after which calls are not tried."""

OPEN_SECONDS = 0.5
"""How long calls fail at once before one of them tries again."""

CALL_SECONDS = 5.0
"""Longest wait for an answer, or to connect: a slow disk holds Redis up for a second and more; a run rather waits."""

CALLS_AT_ONCE = 32
QUEUE_SECONDS = 5.0
"""How long a call waits for its turn: that is our haste, and no failure of the store."""

NOT_REACHED = "it has not been reached yet"
_log = structlog.get_logger("agent_runtime")
_T = TypeVar("_T")


class StoreUnavailable(Exception):
    """The store did not answer; the message holds neither its URL nor what it wrote.

    `tried` is False if nothing was sent to it: then what was asked for was not done.
    """

    def __init__(self, reason: str, *, tried: bool = True) -> None:
        super().__init__(f"the store cannot be used: {reason}")
        self.tried = tried


class Circuit:
    """Counts what happens to calls, and lets none through for a moment after some have failed in a row.

    `moved` is told where a node of a cluster says that our keys are.
    """

    def __init__(self, moved: Callable[[str, int], None] = lambda _host, _port: None) -> None:
        self._moved = moved
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE)
        self._failures = 0
        self._closed_until = float("-inf")
        self._reachable = False
        self._was_reached = False
        self._reason = NOT_REACHED

    def report(self) -> StoreReport:
        """Whether the last call was answered, and why not."""
        return StoreReport(reachable=self._reachable, was_reached=self._was_reached, reason=self._reason)

    async def call(self, function: Callable[..., Awaitable[_T]], *args: object, **options: object) -> _T:
        """Await a call, which bounds its own time; raises StoreUnavailable for anything that the store does wrong."""
        self._refuse_while_open()
        try:
            await take_slot(self._turns, QUEUE_SECONDS)
        except TimeoutError:
            raise StoreUnavailable("too many calls wait for it", tried=False) from None
        try:
            # Those that waited for their turn while the others failed need not fail one by one.
            self._refuse_while_open()
            return await self._try(function, *args, **options)
        finally:
            self._turns.release()

    def _refuse_while_open(self) -> None:
        if time.monotonic() < self._closed_until:
            raise StoreUnavailable(self._reason, tried=False)

    async def _try(self, function: Callable[..., Awaitable[_T]], *args: object, **options: object) -> _T:
        probing = self._failures >= FAILURES_TO_OPEN
        if probing:
            # This call is the one that tries; the others go on failing until it has ended.
            self._closed_until = time.monotonic() + CALL_SECONDS + OPEN_SECONDS
        try:
            result = await function(*args, **options)
        except (NoScriptError, WatchError):
            # Answers that the caller waits for: the server is well.
            self._succeeded()
            raise
        except ResponseError as error:
            raise self._answered_with(error) from None
        except (RedisError, OSError, TimeoutError) as error:
            self.failed(reason_of(error))
            raise StoreUnavailable(self._reason) from None
        except BaseException:
            # Cancelled: nothing is known of the store, so the next call may try.
            if probing:
                self._closed_until = float("-inf")
            raise
        self._succeeded()
        return result

    def failed(self, reason: str) -> None:
        """Note that a call got no answer."""
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._closed_until = time.monotonic() + OPEN_SECONDS
        if self._reachable or reason != self._reason:
            _log.warning("store is not reachable", cause=reason)
        self._reachable = False
        self._reason = reason

    def _answered_with(self, error: ResponseError) -> StoreUnavailable:
        code = code_of(error)
        reason = f"it answered {code}"
        if isinstance(error, MovedError):
            self._moved(str(error.host), int(error.port))
        if unusable(error):
            self.failed(reason)
        else:
            self._succeeded()
            _log.error("store refused a command", code=code)
        return StoreUnavailable(reason)

    def _succeeded(self) -> None:
        self._failures = 0
        self._closed_until = float("-inf")
        if not self._reachable:
            _log.info("store is reachable")
            self._reachable = self._was_reached = True
            self._reason = ""


_UNUSABLE = frozenset(
    {
        *("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "TRYAGAIN", "BUSY"),
        *("OOM", "MISCONF", "NOREPLICAS", "NOAUTH", "WRONGPASS", "NOPERM"),
    }
)
"""Codes by which a server says that it cannot serve now, whatever it is asked."""


def unusable(error: ResponseError) -> bool:
    """Whether the server's answer means that it cannot be used at all."""
    return isinstance(error, ReadOnlyError | MovedError) or code_of(error) in _UNUSABLE


def code_of(error: ResponseError) -> str:
    """Code of an error of the server, such as OOM; never its text, which may quote what was sent."""
    if isinstance(error, ReadOnlyError):
        return "READONLY"
    if isinstance(error, MovedError):
        return "MOVED"
    code = str(error).partition(" ")[0]
    return code if code.isascii() and code.isalpha() and code.isupper() else "an error"


def reason_of(error: Exception) -> str:
    """Why there was no answer, in words that hold no secret."""
    match error:
        case RedisTimeoutError() | TimeoutError():
            return "it did not answer in time"
        case RedisConnectionError() if type(error) is not RedisConnectionError:
            # Subclasses are named after what happened: AuthenticationError, BusyLoadingError, MaxConnectionsError.
            return f"it refused the connection ({type(error).__name__})"
        case _:
            return "it cannot be connected to"
