"""Server-sent events: a run that is shown while it happens."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
from starlette.responses import StreamingResponse

from agent_runtime.routes.presence import ClientGone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

KEEP_ALIVE_SECONDS = 5.0
"""Also how soon a client that went away in a silent run is noticed."""

MAX_QUEUED = 256
STALLED_SECONDS = 30.0
"""How long a run waits for a reader whose queue is full: afterwards he counts as gone."""

EVENT_STREAM = "text/event-stream"
_STOP_SECONDS = 5.0
_KEEP_ALIVE = b": keep-alive\n\n"


def sse(data: object, name: str = "", identity: str = "") -> bytes:
    """One server-sent event; `data` is written as one line of JSON, text as it is."""
    payload = data.encode() if isinstance(data, str) else orjson.dumps(data)
    head = (f"id: {identity}\n" if identity else "") + (f"event: {name}\n" if name else "")
    return head.encode() + b"data: " + payload + b"\n\n"


class Channel:
    """Bounded queue from a run to its stream: a reader that does not read holds the run up, and fills no memory."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED)

    async def send(self, event: bytes) -> None:
        """Pass an event on, when there is room; raises ClientGone if there is none for STALLED_SECONDS."""
        if not self._queue.full():
            self._queue.put_nowait(event)
            return
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self._queue.put(event)
        except TimeoutError:
            raise ClientGone from None

    async def fill(self, work: Callable[[Channel], Awaitable[None]]) -> None:
        """Let work send its events; the channel ends with it."""
        try:
            await work(self)
        except (asyncio.CancelledError, ClientGone):
            # The reader has gone, most likely: nothing may wait for him here, nor he for an end that does not come.
            if self._queue.full():
                self._queue.get_nowait()
            self._queue.put_nowait(None)
            raise
        except BaseException:
            await self._queue.put(None)
            raise
        await self._queue.put(None)

    async def receive(self) -> bytes | None:
        """Wait for the next event, None at the end; after a while of silence a comment that keeps the stream open."""
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                return await self._queue.get()
        except TimeoutError:
            return _KEEP_ALIVE


def stream_run(work: Callable[[Channel], Awaitable[None]], headers: Mapping[str, str]) -> StreamingResponse:
    """Answer that shows what `work` sends; work is cancelled when the client goes away."""
    return StreamingResponse(_events(work), headers=dict(headers), media_type=EVENT_STREAM)


async def _events(work: Callable[[Channel], Awaitable[None]]) -> AsyncIterator[bytes]:
    channel = Channel()
    task = asyncio.create_task(channel.fill(work))
    try:
        while (event := await channel.receive()) is not None:
            yield event
        # A reader who comes back after his run was given up finds its end missing.
        with suppress(ClientGone):
            await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_STOP_SECONDS)
