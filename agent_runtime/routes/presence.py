"""Stops work that nobody waits for any more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from starlette.requests import Request

_STOP_SECONDS = 5.0
T = TypeVar("T")


class ClientGone(Exception):
    """The client closed its connection before the answer, or does not read it."""


async def while_present(request: Request, work: Coroutine[None, None, T]) -> T:
    """Result of the work, which is cancelled when the client of the (fully read) request goes away.

    Raises
    ------
    ClientGone
        If it did.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait((task,), timeout=_STOP_SECONDS)
            _retrieve(task)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _retrieve(task: asyncio.Task[T]) -> None:
    """Take the exception of a task that ended otherwise than by its cancellation, as nobody else will."""
    if task.done() and not task.cancelled():
        task.exception()
