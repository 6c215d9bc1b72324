"""Runs tasks in this pod: claims what is queued, keeps the leases, and gives everything back when the pod goes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.tasks.execution import STOP_SECONDS, Execution
from agent_runtime.tasks.session import Stop, TaskSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runtime.core.loop import ToolCall
    from agent_runtime.tasks.records import Claim
    from agent_runtime.tasks.runner import TaskRunner
    from agent_runtime.tasks.store import TaskStore

TICK_SECONDS = 0.5
"""How often leases are renewed and the queue is looked at: also how late a cancellation is seen."""

LONGEST_BACKOFF_SECONDS = 5.0
LEASE_MARGIN = 0.2
"""Part of a lease that a worker does not use: its clock and the store's need not run alike."""

_RELEASE_SECONDS = 5.0
_log = structlog.get_logger("agent_runtime.tasks")


class TaskWorker:
    """Worker of one pod; `start` it in the event loop, and `stop` it before the loop ends.

    `may_adopt` says whether it takes tasks of revisions that have no worker: stable does, a canary does not. Once
    `draining` is true it claims nothing more and hands back what it has.
    """

    def __init__(  # noqa: PLR0913 - what a worker is told at start
        self,
        store: TaskStore,
        runner: TaskRunner,
        *,
        pod: str,
        revision: str,
        idempotent: Callable[[ToolCall], bool],
        concurrency: int = 8,
        grace_seconds: float = 5.0,
        may_adopt: Callable[[], bool] = lambda: True,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._runner = runner
        self._pod = pod
        self._revision = revision
        self._idempotent = idempotent
        self._concurrency = concurrency
        self._grace_seconds = grace_seconds
        self._may_adopt = may_adopt
        self._draining = draining
        self._sessions: dict[asyncio.Task[None], TaskSession] = {}
        self._owner: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._stopping = False
        self._backoff = TICK_SECONDS

    @property
    def alive(self) -> bool:
        """Whether the worker does its work: false before its start, and after its end whatever ended it."""
        return self._owner is not None and not self._owner.done()

    @property
    def running(self) -> int:
        """Tasks in the hands of this worker."""
        return len(self._sessions)

    def start(self) -> None:
        """Begin to claim tasks."""
        self._owner = asyncio.create_task(self._work(), name="task-worker")

    def poke(self) -> None:
        """Look at the queue now: a task was made here."""
        self._wake.set()

    async def stop(self) -> None:
        """Hand everything back; calls of tools that run may end within the grace time."""
        self._stopping = True
        self.poke()
        if self._owner is not None:
            await asyncio.wait((self._owner,))

    async def _work(self) -> None:
        try:
            while not (self._stopping or self._draining()):
                await self._rest(await self._tick())
        finally:
            await self._hand_back()

    async def _tick(self) -> float:
        """Do what is due; says in how many seconds to do it again."""
        try:
            # A store that is slow to answer must not hide that a lease is over.
            async with asyncio.timeout_at(self._first_end()):
                await self._renew()
                await self._store.sweep()
                await self._claim()
        except (StoreUnavailable, TimeoutError) as error:
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)
            _log.warning("tasks wait for the store", cause=str(error) or "no answer before a lease ended")
        except Exception:  # noqa: BLE001 - the boundary: a worker that is gone would leave all tasks lying
            self._backoff = min(self._backoff * 2, LONGEST_BACKOFF_SECONDS)
            _log.exception("task worker stumbled")
        else:
            self._backoff = TICK_SECONDS
        self._give_up_late()
        # A lease must be renewed in time also while the store comes and goes.
        return self._backoff if not self._sessions else min(self._backoff, self._store.limits.lease / 5)

    def _first_end(self) -> float | None:
        """When the first lease in these hands ends; None without any."""
        return min((session.lease_until for session in self._sessions.values()), default=None)

    async def _rest(self, seconds: float) -> None:
        """Wait until it is time, somebody pokes, or the pod is going away."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self._wake.clear()
        while not (self._stopping or self._draining()) and (left := until - loop.time()) > 0:
            try:
                async with asyncio.timeout(min(left, TICK_SECONDS)):
                    await self._wake.wait()
                    return
            except TimeoutError:
                continue

    async def _renew(self) -> None:
        sessions = list(self._sessions.values())
        asked = asyncio.get_running_loop().time()
        answers = await self._store.pulse(self._identity, [session.claim for session in sessions])
        for session, answer in zip(sessions, answers, strict=True):
            if answer == "lost":
                session.stop(Stop.LOST)
                continue
            session.lease_until = self._lease_from(asked)
            if answer == "cancel":
                session.stop(Stop.CANCELLED)

    def _give_up_late(self) -> None:
        now = asyncio.get_running_loop().time()
        for session in self._sessions.values():
            if now >= session.lease_until:
                session.stop(Stop.LOST)

    async def _claim(self) -> None:
        while len(self._sessions) < self._concurrency and not (self._stopping or self._draining()):
            asked = asyncio.get_running_loop().time()
            claim = await self._store.claim(self._revision, self._pod, may_adopt=self._may_adopt())
            if claim is None:
                return
            self._begin(claim, self._lease_from(asked))

    def _begin(self, claim: Claim, lease_until: float) -> None:
        session = TaskSession(self._store, claim, lease_until)
        execution = Execution(self._store, session, self._runner, self._idempotent)
        task = asyncio.create_task(execution.run(), name=f"task-{claim.task.id}")
        self._sessions[task] = session
        task.add_done_callback(self._ended)
        _log.info("task claimed", task=claim.task.id, attempt=claim.task.attempt, moved_from=claim.task.moved_from)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._sessions[task]
        self.poke()

    async def _hand_back(self) -> None:
        """Let calls of tools end that run, within the grace time; stop the rest, and tell other pods that they may."""
        sessions = list(self._sessions.values())
        for session in sessions:
            session.leave()
        await asyncio.gather(*(self._hand_over(session) for session in sessions))
        if self._sessions:
            _, late = await asyncio.wait(tuple(self._sessions), timeout=STOP_SECONDS + _RELEASE_SECONDS)
            for task in late:
                task.cancel()
        try:
            await self._store.leave(self._identity)
        except StoreUnavailable as error:
            _log.warning("tasks wait for the end of their leases", cause=str(error))

    async def _hand_over(self, session: TaskSession) -> None:
        try:
            async with asyncio.timeout(self._grace_seconds):
                await session.quiet.wait()
        except TimeoutError:
            _log.warning("call of a tool is cut off", task=session.claim.task.id)
        session.stop(Stop.HANDED_BACK)

    def _lease_from(self, asked: float) -> float:
        return asked + self._store.limits.lease * (1 - LEASE_MARGIN)

    @property
    def _identity(self) -> str:
        return f"{self._revision} {self._pod}"
