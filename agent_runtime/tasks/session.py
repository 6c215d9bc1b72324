"""One task in the hands of one worker: journal and event sink that nobody can write with who lost the task.

HandsOff
├── LeaseLost        the task is in other hands, or may be
└── WorkHandedBack   the pod is going away, and begins nothing more
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Any

from agent_runtime.core.events import ApprovalRequired, Completed, Failed, RunStarted, TextDelta, ToolCalled, ToolEnded
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.tasks.reading import END_MARK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_runtime.core.events import Event
    from agent_runtime.core.loop import ToolCall
    from agent_runtime.core.progress import Progress
    from agent_runtime.tasks.records import Claim
    from agent_runtime.tasks.store import TaskStore

DELTA_SECONDS = 0.1
"""Text is kept in parts of this time: a write for each token would cost more than the token."""

MAX_DELTA_CHARACTERS = 2000
_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 1.0
_RECORDED = "recorded"


class HandsOff(Exception):
    """The worker has to stop with this task."""


class LeaseLost(HandsOff):
    """The task is in other hands, or may be."""


class WorkHandedBack(HandsOff):
    """The pod is going away, and begins nothing more."""


class Stop(Enum):
    """Why a worker stops with a task that has not ended."""

    CANCELLED = "cancelled"
    LOST = "lost"
    HANDED_BACK = "handed back"


class TaskSession:
    """Journal and events of a claimed task.

    Writes are tried again until the lease ends on the worker's own clock: after that, another pod may have the task.
    """

    def __init__(self, store: TaskStore, claim: Claim, lease_until: float) -> None:
        self.claim = claim
        self.lease_until = lease_until
        self.stopped = asyncio.Event()
        self.reason: Stop | None = None
        self.approvals: dict[str, ApprovalRequired] = {}
        self.quiet = asyncio.Event()
        self.quiet.set()
        self._store = store
        self._running: set[str] = set()
        self._leaving = False
        self._batch = 0
        self._text: list[str] = []
        self._characters = 0
        self._writing = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None

    def stop(self, reason: Stop) -> None:
        """Tell the worker to stop with the task; the first reason counts, except that a lost task is lost."""
        if self.reason is None or reason is Stop.LOST:
            self.reason = reason
        self.stopped.set()

    def leave(self) -> None:
        """Begin no more calls of tools; `quiet` is set once none runs."""
        self._leaving = True

    async def answered(self, progress: Progress) -> None:
        """Note what the model asked for; its calls have not begun."""
        await self._flush()
        await self.kept(lambda: self._store.answered(self.claim, progress))

    async def tool_started(self, call: ToolCall, rule: int) -> None:
        """Note that a call begins, by which rule of the policy: from here on its outcome is unknown until it ended.

        Raises
        ------
        LeaseLost, WorkHandedBack
            If it must not begin.
        """
        if self._leaving:
            # Raised at once, it would cancel the calls that run beside this one, which are waited for.
            await self.stopped.wait()
            raise WorkHandedBack(self.claim.task.id)
        self._running.add(call.id)
        self.quiet.clear()
        try:
            await self.kept(lambda: self._store.tool_started(self.claim, call.id, rule))
        except BaseException:
            self._ended(call)
            raise

    async def tool_ended(self, call: ToolCall, content: str) -> None:
        """Note the result of a call, as the model will be told."""
        try:
            await self.kept(lambda: self._store.tool_ended(self.claim, call.id, content))
        finally:
            self._ended(call)

    async def emit(self, event: Event) -> None:
        """Add an event to the task's stream; text in parts. The end is written with the state, not here."""
        if isinstance(event, Completed | Failed):
            return
        if isinstance(event, TextDelta):
            await self._add_text(event.text)
            return
        if isinstance(event, ApprovalRequired):
            self.approvals[event.id] = event
        await self._flush((_mark(event), asdict(event)))

    async def tell_unseen(self) -> None:
        """Tell of calls that ended when no event could be written any more."""
        progress = self.claim.progress
        calls = () if progress is None else progress.messages[-1].tool_calls
        for call in calls:
            if call.id in self.claim.ended_unseen:
                await self.emit(ToolEnded(call.id, call.name, _RECORDED, 0))

    async def close(self) -> None:
        """Write what is left of the text."""
        try:
            await self._flush()
        finally:
            if self._flusher is not None:
                self._flusher.cancel()
                await asyncio.gather(self._flusher, return_exceptions=True)

    async def kept(self, write: Callable[[], Awaitable[bool]]) -> None:
        """Write until the store has it.

        Raises
        ------
        LeaseLost
            If the task is in other hands, or may be before the store has it.
        """
        loop = asyncio.get_running_loop()
        delay = _FIRST_RETRY_SECONDS
        while self.reason is not Stop.LOST and loop.time() < self.lease_until:
            try:
                if await write():
                    return
                break
            except StoreUnavailable:
                await asyncio.sleep(min(delay, max(0.0, self.lease_until - loop.time())))
                delay = min(delay * 2, _LONGEST_RETRY_SECONDS)
        self.stop(Stop.LOST)
        raise LeaseLost(self.claim.task.id)

    def _ended(self, call: ToolCall) -> None:
        self._running.discard(call.id)
        if not self._running:
            self.quiet.set()

    async def _add_text(self, text: str) -> None:
        self._text.append(text)
        self._characters += len(text)
        if self._characters >= MAX_DELTA_CHARACTERS:
            await self._flush()
        elif self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush_later())

    async def _flush_later(self) -> None:
        await asyncio.sleep(DELTA_SECONDS)
        try:
            await self._flush()
        except HandsOff:
            # The reason is noted; the worker and the next write see it.
            return

    async def _flush(self, *events: tuple[str, dict[str, Any]]) -> None:
        async with self._writing:
            said = "".join(self._text)
            self._text.clear()
            self._characters = 0
            parts = [("", asdict(TextDelta(said))), *events] if said else list(events)
            if parts:
                self._batch += 1
                number = self._batch
                await self.kept(lambda: self._store.emit(self.claim, number, parts))


def _mark(event: Event) -> str:
    """What is shown once, although another pod may come to it again."""
    match event:
        case RunStarted():
            return "begun"
        case ToolCalled(id=call):
            return f"e:call:{call}"
        case ToolEnded(id=call):
            return END_MARK + call
        case ApprovalRequired(id=call):
            return f"e:approval:{call}"
        case _:
            return ""
