"""The events of a task as a stream that can be continued."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse

from agent_runtime.routes.body import invalid_fields
from agent_runtime.routes.streaming import EVENT_STREAM, KEEP_ALIVE_SECONDS, sse
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.tasks.feed import TooManyWatchers
from agent_runtime.tasks.records import TaskNotFound

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from agent_runtime.tasks.feed import EventFeed, StoredEvent
    from agent_runtime.tasks.store import TaskStore

WAIT_SECONDS = 1.0
"""How long a silent stream waits before it looks whether to go on."""

LAST_EVENT_HEADER = "last-event-id"
LOST_EVENTS = "events.lost"
_MAX_NUMBER_DIGITS = 15
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {"cache-control": "no-store"}


def number_of(header: str | None) -> int:
    """Number of the last event that a reader has seen; 0 if it has seen none.

    Raises
    ------
    Problem
        If it is not one.
    """
    if header is None:
        return 0
    if not (header.isascii() and header.isdigit() and len(header) <= _MAX_NUMBER_DIGITS):
        raise invalid_fields([(LAST_EVENT_HEADER, "Send the id of the last event that you have seen, such as 17")])
    return int(header)


def check_was_shown(number: int, newest: int) -> None:
    """Refuse a reader who has seen what never was: it would wait for the events after it and miss all before."""
    if number > newest:
        message = f"{number} is above the newest id, {newest}; send the last id that this task's stream has shown"
        raise invalid_fields([(LAST_EVENT_HEADER, message)])


def task_events(
    store: TaskStore, feed: EventFeed, task_id: str, after: int, draining: Callable[[], bool]
) -> StreamingResponse:
    """Answer that shows all events after a number, until the task ended or this pod is going away."""
    return StreamingResponse(_stream(store, feed, task_id, after, draining), headers=_HEADERS, media_type=EVENT_STREAM)


async def _stream(
    store: TaskStore, feed: EventFeed, task_id: str, after: int, draining: Callable[[], bool]
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    last, spoken = after, loop.time()
    while not draining():
        try:
            events = await feed.after(task_id, last, WAIT_SECONDS)
        except TooManyWatchers:
            return
        for event in events:
            yield _shown(event, last)
            last = event.number
        if events:
            spoken = loop.time()
            if events[-1].terminal:
                return
        elif await _over(store, task_id):
            return
        elif loop.time() - spoken >= KEEP_ALIVE_SECONDS:
            spoken = loop.time()
            yield _KEEP_ALIVE


def _shown(event: StoredEvent, last: int) -> bytes:
    shown = sse(event.document, event.document["type"], str(event.number))
    if event.number == last + 1:
        return shown
    # The stream is bounded: whoever comes too late is told, and not left to believe that this is all.
    return sse({"type": LOST_EVENTS, "first": last + 1, "last": event.number - 1}, LOST_EVENTS) + shown


async def _over(store: TaskStore, task_id: str) -> bool:
    """Whether nothing will come: the task has ended and its end was seen, or its retention is over."""
    try:
        return (await store.view(task_id, None)).state.terminal
    except TaskNotFound:
        return True
    except StoreUnavailable:
        return False
