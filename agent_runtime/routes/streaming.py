"""Server-sent events: a run that is shown while it happens."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import orjson
from starlette.responses import StreamingResponse

from agent_runtime.routes.presence import ClientGone, while_present

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

KEEP_ALIVE_SECONDS = 5.0
"""Also how soon a client that went away in a silent run is noticed."""

MAX_QUEUED = 256
STALLED_SECONDS = 30.0
"""How long a run waits for a reader whose queue is full: afterwards he counts as gone."""

HOLD_SECONDS = 10.0
"""How long the answer waits for something to show: what fails before has a status of its own."""

EVENT_STREAM = "text/event-stream"
_STOP_SECONDS = 5.0
_KEEP_ALIVE = b": keep-alive\n\n"


def sse(data: object, name: str = "", identity: str = "") -> bytes:
    """One server-sent event; `data` is written as one line of JSON, text as it is."""
    payload = data.encode() if isinstance(data, str) else orjson.dumps(data)
    head = (f"id: {identity}\n" if identity else "") + (f"event: {name}\n" if name else "")
    return head.encode() + b"data: " + payload + b"\n\n"


class Channel:
    """Bounded queue from a run to its stream: a reader that does not read holds the run up, and fills no memory.

    It opens with the first event that says something: until then nothing has been answered, and a failure may still be.
    A reader who was held long enough is answered before; `shown` tells whether he has seen something, `on_shown` when.
    """

    def __init__(self, on_shown: Callable[[], None] | None = None) -> None:
        self.opened = asyncio.Event()
        self.shown = False
        self._on_shown = on_shown
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_QUEUED)

    async def send(self, event: bytes, *, opens: bool = True) -> None:
        """Pass an event on, when there is room; raises ClientGone if there is none for STALLED_SECONDS."""
        if opens:
            self._show()
        if not self._queue.full():
            self._queue.put_nowait(event)
            return
        try:
            async with asyncio.timeout(STALLED_SECONDS):
                await self._queue.put(event)
        except TimeoutError:
            raise ClientGone from None

    def _show(self) -> None:
        self.opened.set()
        if not self.shown and self._on_shown is not None:
            self._on_shown()
        self.shown = True

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


class RunStream:
    """A run that is shown while it happens: what `work` sends, cancelled when the client goes away."""

    def __init__(self, work: Callable[[Channel], Awaitable[None]], on_shown: Callable[[], None] | None = None) -> None:
        self._channel = Channel(on_shown)
        self._task = asyncio.create_task(self._channel.fill(work))

    async def open(self, request: Request) -> None:
        """Wait until there is something to show, at most for HOLD_SECONDS.

        Raises
        ------
        ClientGone, Exception
            The end of the work, if it failed before.
        """
        try:
            await while_present(request, self._opened())
        except BaseException:
            await self.stop()
            raise

    async def _opened(self) -> None:
        opened = asyncio.create_task(self._channel.opened.wait())
        try:
            await asyncio.wait((self._task, opened), timeout=HOLD_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if self._task.done() and not self._channel.opened.is_set():
            await self._task
        self._channel.opened.set()

    async def events(self) -> AsyncIterator[bytes]:
        """What there is to send, until the work ends; raises what the work raised."""
        while (event := await self._channel.receive()) is not None:
            yield event
        # A reader who comes back after his run was given up finds its end missing.
        with suppress(ClientGone):
            await self._task

    async def stop(self) -> None:
        """End the work, if it has not ended."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=_STOP_SECONDS)


class StreamedAnswer(StreamingResponse):
    """The answer that shows a run; its end, however it comes, is the run's."""

    def __init__(self, stream: RunStream) -> None:
        super().__init__(stream.events(), media_type=EVENT_STREAM)
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.stop()
