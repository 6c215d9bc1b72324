"""One request that is a run, whatever protocol it came by: booked whatever becomes of it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agent_api.meta import CACHE_HEADER, CONVERSATION_HEADER, OUTCOME_HEADER
from agent_api.observations import Outcome
from agent_runtime.access.caller import ANONYMOUS
from agent_runtime.agent import ApprovalNeeded
from agent_runtime.asking import turn_in
from agent_runtime.errors import Problem, internal_problem
from agent_runtime.failures import Failure
from agent_runtime.routes.presence import ClientGone
from agent_runtime.routes.streaming import RunStream, StreamedAnswer
from agent_runtime.runs import RunFailed
from agent_runtime.telemetry.logs import run_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from agent_runtime.agent import Answer
    from agent_runtime.core.events import Event, EventSink
    from agent_runtime.process import ProcessContext
    from agent_runtime.routes.streaming import Channel
    from agent_runtime.runs import Asker, Question

CLIENT_CLOSED_REQUEST = 499
_log = structlog.get_logger("agent_runtime.run")


class Call(ABC):
    """One request; a protocol says how it is read and answered."""

    def __init__(self, context: ProcessContext, request: Request) -> None:
        self.context = context
        self.request = request
        self.request_id: str = request.state.request_id
        self.record = context.book.begin(turn_in(request, context.ids, ANONYMOUS, None))
        self._streams = False
        self._booked = False

    @abstractmethod
    async def respond(self) -> Response:
        """Read the request, run, and answer; raises Problem, RunFailed, ClientGone, ClientDisconnect."""

    @abstractmethod
    def told(self, problem: Problem) -> Response:
        """A problem as the protocol tells it."""

    async def answer(self) -> Response:
        """Run, book and answer; a stream is booked when it ends."""
        with run_context(request_id=self.request_id, revision=self.context.document.revision):
            try:
                return await self._answer()
            finally:
                if not self._streams:
                    self._book()

    async def _answer(self) -> Response:
        try:
            response = await self.respond()
        except (ClientGone, ClientDisconnect):
            self._left(opened=False)
            response = Response(status_code=CLIENT_CLOSED_REQUEST)
        except RunFailed as failed:
            response = self.told(failed.failure.problem)
        except Problem as problem:
            self.record.ended(Outcome.EXCLUDED, problem.type)
            response = self.told(problem)
        response.headers[CONVERSATION_HEADER] = str(self.record.turn.conversation)
        if not self._streams:
            response.headers[OUTCOME_HEADER] = self.record.outcome
        if self.record.age_seconds is not None:
            response.headers[CACHE_HEADER] = "hit"
            response.headers["age"] = str(int(self.record.age_seconds))
        return response

    async def execute(self, question: Question, asker: Asker, emit: EventSink) -> Answer:
        """Run to an answer.

        Raises
        ------
        RunFailed
            If there is none.
        ApprovalNeeded
            If calls of tools wait for a person.
        """
        try:
            return await self.context.desk.answer(question, asker, self.record, emit)
        except ApprovalNeeded:
            self.record.waits()
            raise
        except RunFailed as failed:
            self.record.failed(failed.failure)
            raise
        except ClientGone:
            raise
        except Exception as error:
            _log.exception("run failed unexpectedly")
            failure = Failure(internal_problem(), Outcome.ERROR)
            self.record.failed(failure)
            raise RunFailed(failure) from error

    def _left(self, *, opened: bool) -> None:
        self.record.client_left(asyncio.get_running_loop().time() - self.record.begun, opened=opened)

    async def streamed(self, show: Callable[[Channel], Awaitable[None]]) -> Response:
        """Answer that shows the run while it happens; raises what ends it before there is something to show."""
        book, record = self.context.book, self.record
        stream = RunStream(lambda channel: self._until_its_end(show, channel), lambda: book.opened(record))
        await stream.open(self.request)
        self._streams = True
        return StreamedAnswer(stream)

    async def _until_its_end(self, show: Callable[[Channel], Awaitable[None]], channel: Channel) -> None:
        with run_context(request_id=self.request_id, revision=self.context.document.revision):
            try:
                await show(channel)
            except (asyncio.CancelledError, ClientGone):
                self._left(opened=channel.shown)
                raise
            finally:
                if channel.opened.is_set():
                    self._book()

    def _book(self) -> None:
        # A client may leave just when his stream opens: both ends come to this.
        if not self._booked:
            self._booked = True
            self.context.book.end(self.record)


async def unwatched(_event: Event) -> None:
    """Sink of a run that nobody watches."""
