"""A connection that many share: commands follow one another at once, and their answers come in the same order."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from agent_runtime.store.circuit import CALL_SECONDS

if TYPE_CHECKING:
    from redis.asyncio.connection import Connection, ConnectionPool


class Wire:
    """One connection and the two tasks that own it; both end with it, and so does every question that is still open."""

    def __init__(self, connection: Connection, pool: ConnectionPool) -> None:
        self._connection = connection
        self._pool = pool
        self._open: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._serializer = HiredisRespSerializer()
        self._unsent: list[bytes] = []
        self._news = asyncio.Event()
        self._retired = False
        self._read_out = False
        self._error: RedisError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def usable(self) -> bool:
        """Whether new questions belong here."""
        return self._error is None and not self._retired

    async def ask(self, command: tuple[Any, ...]) -> Any:  # noqa: ANN401 - any answer of the server
        """Send a command and wait for its answer; a caller who leaves before gets none, and disturbs nobody.

        Raises
        ------
        RedisError
            The server's error, or that of the connection, or none came within CALL_SECONDS: then the command may have
            been carried out.
        """
        if self._error is not None:
            raise self._error
        loop = asyncio.get_running_loop()
        # The asynchronous connection's own `pack_command` is Python's, and takes four times as long.
        self._unsent += self._serializer.pack(*command)
        answer: asyncio.Future[Any] = loop.create_future()
        deadline = loop.time() + CALL_SECONDS
        self._open.append((deadline, answer))
        self._news.set()
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._fail_overdue)
        return await answer

    async def aclose(self) -> None:
        """Close the connection; open questions fail."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def _fail_overdue(self) -> None:
        """Fail what waited too long, and then ask nothing new: what is open may still be answered.

        One timer for all questions, set for the oldest: one for each costs as much as the rest of asking.
        """
        loop, self._timer = asyncio.get_running_loop(), None
        for deadline, answer in self._open:
            if answer.done():
                continue
            if deadline > loop.time():
                self._timer = loop.call_at(deadline, self._fail_overdue)
                return
            self._retired = True
            answer.set_exception(RedisTimeoutError("no answer"))
        if self._retired:
            # Nobody waits for anything here any more.
            self._task.cancel()

    async def _run(self) -> None:
        error: Exception = RedisConnectionError("closed")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write())
                group.create_task(self._read())
        except* (RedisError, OSError) as failures:
            error = failures.exceptions[0]
        finally:
            self._error = error if isinstance(error, RedisError) else RedisConnectionError("lost")
            for _, answer in self._open:
                if not answer.done():
                    answer.set_exception(self._error)
            self._open.clear()
            if self._timer is not None:
                self._timer.cancel()
            await self._connection.disconnect(nowait=True)
            await self._pool.release(self._connection)

    async def _write(self) -> None:
        # The library may swallow a cancellation while it sends: the reader's end is this one's as well.
        while True:
            await self._news.wait()
            self._news.clear()
            if self._read_out:
                return
            # All that were asked in one turn of the loop go out together.
            unsent, self._unsent = self._unsent, []
            if not self._connection.is_connected:
                # The library would connect again, and send what belongs to this connection on another.
                raise RedisConnectionError("closed")
            await self._connection.send_packed_command(unsent, check_health=False)

    async def _read(self) -> None:
        try:
            while True:
                await self._read_one()
        finally:
            self._read_out = True
            self._news.set()

    async def _read_one(self) -> None:
        try:
            found = await self._connection.read_response()
        except ResponseError as error:
            found = error
        if not self._open:
            raise RedisConnectionError("an answer that nobody asked for")
        _, answer = self._open.popleft()
        if answer.done():
            # Whoever asked has left.
            return
        if isinstance(found, ResponseError):
            answer.set_exception(found)
        else:
            answer.set_result(found)
