"""Runs tasks through the same desk as any other run."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from agent_api.conversation import parse_conversation_id
from agent_api.observations import Outcome
from agent_api.placement import Placement
from agent_runtime.access.caller import ANONYMOUS
from agent_runtime.agent import ApprovalNeeded
from agent_runtime.asking import question_of
from agent_runtime.core.conversation_ids import RANDOM_BYTES
from agent_runtime.core.conversations import Fresh, turn_of
from agent_runtime.errors import Problem, internal_problem
from agent_runtime.failures import Failure
from agent_runtime.routes.wire import RunRequest
from agent_runtime.runs import Asker, Resumption, RunFailed
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.tasks.runner import Broken, Finished, Waiting
from agent_runtime.tasks.session import HandsOff
from agent_runtime.telemetry.logs import run_context

if TYPE_CHECKING:
    from agent_runtime.core.conversation_ids import ConversationIds
    from agent_runtime.core.conversations import Turn
    from agent_runtime.core.events import EventSink
    from agent_runtime.core.progress import Journal, Progress
    from agent_runtime.documents import AnswerDocuments
    from agent_runtime.record import RunBook, RunRecord
    from agent_runtime.runs import RunDesk
    from agent_runtime.tasks.runner import Task, TaskEnd


_SHORTEST_WAIT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _NotYet:
    """The run was not let in, and nothing of it has begun."""

    seconds: float


class TaskRuns:
    """The agent as the worker of tasks knows it."""

    def __init__(self, desk: RunDesk, book: RunBook, documents: AnswerDocuments, ids: ConversationIds) -> None:
        self._desk = desk
        self._book = book
        self._documents = documents
        self._ids = ids

    async def run(
        self,
        task: Task,
        progress: Progress | None,
        journal: Journal,
        emit: EventSink,
        approved: frozenset[str],
        rejected: frozenset[str],
        unknown: frozenset[str],
    ) -> TaskEnd:
        """Go on from `progress`, or begin where there is none."""
        resumption = None if progress is None else Resumption(progress, approved, rejected, unknown)
        with run_context(request_id=task.request_id or task.id, revision=self._ids.revision):
            while True:
                end = await self._booked(task, journal, emit, resumption)
                if not isinstance(end, _NotYet):
                    return end
                await asyncio.sleep(max(end.seconds, _SHORTEST_WAIT_SECONDS))

    async def _booked(
        self, task: Task, journal: Journal, emit: EventSink, resumption: Resumption | None
    ) -> TaskEnd | _NotYet:
        turn = self._turn(task)
        record = self._book.begin(turn)
        self._book.identify(record, turn, None if task.user == ANONYMOUS else task.user)
        try:
            return await self._run(task, record, journal, emit, resumption)
        except (asyncio.CancelledError, HandsOff, StoreUnavailable):
            # The pod goes, the store is away, or another has the task: nothing that the revision did wrong.
            record.handed_back()
            raise
        except Exception:
            record.failed(Failure(internal_problem(), Outcome.ERROR))
            raise
        finally:
            self._book.end(record)

    async def _run(
        self, task: Task, record: RunRecord, journal: Journal, emit: EventSink, resumption: Resumption | None
    ) -> TaskEnd | _NotYet:
        asker = Asker(
            task.request_id or task.id, task.user, record.turn, continues=task.continues, run_id=task.run_id or task.id
        )
        try:
            question = question_of(RunRequest.model_validate({**task.request, "stream": False}))
            answer = await self._desk.answer(question, asker, record, emit, journal, resumption)
        except ApprovalNeeded as waiting:
            record.waits()
            return Waiting(waiting.progress, waiting.calls)
        except RunFailed as failed:
            failure = failed.failure
            if failure.is_outage:
                # The task is taken up again where it stands, when its lease is over.
                raise StoreUnavailable(failure.problem.detail) from None
            record.failed(failure)
            if failure.wait_seconds is not None:
                return _NotYet(failure.wait_seconds)
            return Broken(failure.problem.document(task_id=task.id))
        except Problem as problem:
            return Broken(problem.document(task_id=task.id))
        return Finished((await self._documents.of(answer, asker, record)).model_dump(mode="json"))

    def _turn(self, task: Task) -> Turn:
        known = parse_conversation_id(task.conversation_id or "")
        epoch = 0 if known is None else known.epoch
        fresh = Fresh(epoch, Placement.FOREIGN, secrets.token_bytes(RANDOM_BYTES))
        turn = turn_of(self._ids, task.conversation_id, task.user, fresh)
        return replace(turn, first=turn.first or task.conversation_id != task.continues)
