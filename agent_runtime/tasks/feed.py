"""Events of tasks for those who watch: one question to the store for all watchers of this pod, ten times a second."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.tasks.reading import text

if TYPE_CHECKING:
    from agent_runtime.store.connection import Store
    from agent_runtime.tasks.store import TaskStore

POLL_SECONDS = 0.1
BACKOFF_SECONDS = 1.0
EVENTS_PER_READ = 500
MAX_WATCHERS = 1000
TERMINAL_EVENTS = frozenset({"completed", "error", "cancelled"})
_log = structlog.get_logger("agent_runtime.tasks")


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event of a task; numbers rise by one, so that a watcher sees a gap."""

    number: int
    document: dict[str, Any]

    @property
    def terminal(self) -> bool:
        """Whether no event comes after it."""
        return self.document["type"] in TERMINAL_EVENTS


class TooManyWatchers(Exception):
    """This pod has as many watchers as it may."""


@dataclass(frozen=True, slots=True)
class _Question:
    key: str
    after: int
    answer: asyncio.Future[list[StoredEvent]]


class EventFeed:
    """Reads streams of tasks; `start` it in the event loop, and `stop` it before the loop ends."""

    def __init__(self, store: Store, tasks: TaskStore) -> None:
        self._store = store
        self._tasks = tasks
        self._questions: list[_Question] = []
        self._asked = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether questions are answered."""
        return self._owner is not None and not self._owner.done()

    def start(self) -> None:
        """Begin to answer."""
        self._owner = asyncio.create_task(self._answer(), name="task-events")

    async def stop(self) -> None:
        """Answer nothing more; who waits is cancelled."""
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.wait((self._owner,))
        for question in self._questions:
            question.answer.cancel()

    async def after(self, task_id: str, number: int, seconds: float) -> list[StoredEvent]:
        """Events after the one with this number, as soon as there are some; nothing after so many seconds without.

        Raises
        ------
        TooManyWatchers
            If this pod has as many as it may.
        """
        if len(self._questions) >= MAX_WATCHERS:
            raise TooManyWatchers(f"{MAX_WATCHERS} streams are open in this pod")
        answer = asyncio.get_running_loop().create_future()
        question = _Question(self._tasks.events_key(task_id), number, answer)
        self._questions.append(question)
        self._asked.set()
        try:
            async with asyncio.timeout(seconds):
                return await question.answer
        except TimeoutError:
            return []
        finally:
            if question in self._questions:
                self._questions.remove(question)

    async def _answer(self) -> None:
        while True:
            await self._asked.wait()
            if not self._questions:
                self._asked.clear()
                continue
            await asyncio.sleep(await self._read())

    async def _read(self) -> float:
        """Answer what can be answered; says in how many seconds to look again."""
        try:
            await self._read_streams(tuple(self._questions))
        except StoreUnavailable:
            return BACKOFF_SECONDS
        except Exception:  # noqa: BLE001 - the boundary: a feed that is gone would leave all watchers waiting
            _log.exception("events of tasks could not be read")
            return BACKOFF_SECONDS
        return POLL_SECONDS

    async def _read_streams(self, questions: tuple[_Question, ...]) -> None:
        pipeline = self._store.client.pipeline(transaction=False)
        for question in questions:
            pipeline.xrange(question.key, min=f"({question.after}-0", count=EVENTS_PER_READ)
        for question, entries in zip(questions, await pipeline.execute(), strict=True):
            if entries and not question.answer.done():
                question.answer.set_result([_event(*entry) for entry in entries])


def _event(entry: bytes, fields: dict[bytes, bytes]) -> StoredEvent:
    return StoredEvent(int(text(entry).partition("-")[0]), json.loads(fields[b"e"]))
