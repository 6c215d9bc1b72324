"""One claimed task from its claim to its end: run it, then say in the store how that ended."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog

from agent_runtime.core.events import ApprovalRequired
from agent_runtime.core.task_state import unknown_calls
from agent_runtime.errors import Problem, ProblemType, internal_problem
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.tasks.runner import Broken, Waiting, waiting_call
from agent_runtime.tasks.session import HandsOff, Stop
from agent_runtime.tasks.store import ProgressTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent_runtime.core.loop import ToolCall
    from agent_runtime.tasks.runner import TaskEnd, TaskRunner
    from agent_runtime.tasks.session import TaskSession
    from agent_runtime.tasks.store import TaskStore

STOP_SECONDS = 5.0
"""How long a run may take to stop; after that it is left alone, as it can write no more."""

_log = structlog.get_logger("agent_runtime.tasks")


class Execution:
    """Runs one claimed task."""

    def __init__(
        self, store: TaskStore, session: TaskSession, runner: TaskRunner, idempotent: Callable[[ToolCall], bool]
    ) -> None:
        self._store = store
        self._session = session
        self._runner = runner
        self._idempotent = idempotent

    async def run(self) -> None:
        """Run the task and settle it. Raises nothing but cancellation: what the store did not take, others take up."""
        session, task = self._session, self._session.claim.task
        try:
            end = await self._outcome()
            if end is not None and session.reason is not Stop.LOST:
                await self._settle(end)
            elif session.reason is Stop.CANCELLED:
                await session.kept(lambda: self._store.finish(session.claim, None))
            elif session.reason is Stop.HANDED_BACK:
                await session.kept(lambda: self._store.release(session.claim))
        except HandsOff:
            pass
        except Exception:  # noqa: BLE001 - the boundary: the task is taken up again when its lease ends
            _log.exception("task could not be settled", task=task.id)
        reason = "ended" if session.reason is None else session.reason.value
        _log.info("task left", task=task.id, attempt=task.attempt, reason=reason)

    async def _outcome(self) -> TaskEnd | None:
        """How the run ended; None if it was stopped before."""
        session = self._session
        run = asyncio.create_task(self._go_on())
        stopped = asyncio.create_task(session.stopped.wait())
        try:
            await asyncio.wait((run, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not run.done():
                run.cancel()
                await asyncio.wait((run,), timeout=STOP_SECONDS)
        if not run.done():
            _log.warning("run does not stop", task=session.claim.task.id)
            return None
        return None if run.cancelled() else self._end_of(run)

    async def _go_on(self) -> TaskEnd:
        session, claim = self._session, self._session.claim
        await session.tell_unseen()
        end = await self._runner.run(
            claim.task,
            claim.progress,
            session,
            session.emit,
            claim.step.approved,
            claim.step.rejected,
            unknown_calls(claim.progress, self._idempotent),
        )
        await session.close()
        return end

    def _end_of(self, run: asyncio.Task[TaskEnd]) -> TaskEnd | None:
        error = run.exception()
        if error is None:
            return run.result()
        # Parallel calls of tools raise groups, so the reason is looked up in the session, not in what was raised.
        if self._session.reason is not None:
            return None
        for cause in _leaves(error):
            if isinstance(cause, HandsOff | StoreUnavailable):
                # The lease runs out, and the task is tried again then: an outage is waited for, a bounded time.
                self._session.stop(Stop.LOST)
                return None
            if isinstance(cause, ProgressTooLarge):
                return Broken(too_large(cause).document())
        _log.error("task failed unexpectedly", task=self._session.claim.task.id, exc_info=error)
        return Broken(internal_problem().document())

    async def _settle(self, end: TaskEnd) -> None:
        session = self._session
        if isinstance(end, Waiting):
            await self._suspend(end)
            return
        await session.kept(lambda: self._store.finish(session.claim, end))

    async def _suspend(self, end: Waiting) -> None:
        session, step = self._session, self._session.claim.step
        open_calls = [call for call in end.calls if call.id not in step.approved | step.rejected]
        if not open_calls:
            # It would wait for decisions that were made, and come back at once, for ever.
            _log.error("task waits for calls that are decided", task=session.claim.task.id)
            await session.kept(lambda: self._store.finish(session.claim, Broken(internal_problem().document())))
            return
        waiting = []
        for call in open_calls:
            if call.id not in session.approvals:
                await session.emit(ApprovalRequired(**waiting_call(call)))
            waiting.append(asdict(session.approvals[call.id]))
        await session.kept(lambda: self._store.suspend(session.claim, end.progress, waiting))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, and of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def too_large(error: ProgressTooLarge) -> Problem:
    """The problem of a task that is more than the store keeps of one."""
    return Problem(ProblemType.TASK_TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The task is too large: {error}.")
