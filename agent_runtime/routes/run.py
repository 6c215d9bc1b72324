"""`POST /agent/run`: one run of the agent, answered whole or as it happens."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from agent_runtime.agent import ApprovalNeeded
from agent_runtime.asking import asker_of, question_of, turn_in, user_split_by
from agent_runtime.core.events import Completed, Failed, RunStarted
from agent_runtime.errors import Problem
from agent_runtime.routes.body import read_run_request
from agent_runtime.routes.call import Call, unwatched
from agent_runtime.routes.presence import while_present
from agent_runtime.routes.streaming import EVENT_STREAM, sse
from agent_runtime.routes.wire import PROBLEMS, RunAnswer, RunRequest, body_of
from agent_runtime.runs import Question, RunFailed

if TYPE_CHECKING:
    from agent_runtime.core.events import Event, EventSink
    from agent_runtime.process import ProcessContext
    from agent_runtime.routes.streaming import Channel
    from agent_runtime.runs import Asker

RUN_PATH = "/agent/run"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {EVENT_STREAM: {}}},
    202: {"description": "The run waits for a person, as a task.", "content": {"application/json": {}}},
}


def run_router(context: ProcessContext) -> APIRouter:
    """Route of the run."""
    router = APIRouter(responses=PROBLEMS)

    @router.post(RUN_PATH, openapi_extra=body_of(RunRequest), response_model=RunAnswer, responses=_RESPONSES)
    async def run(request: Request) -> Response:
        """Ask the agent; with `stream` the answer is server-sent events."""
        return await _RunCall(context, request).answer()

    return router


@dataclass(frozen=True, slots=True)
class _Asked:
    """A run that was understood."""

    question: Question
    asker: Asker
    body: RunRequest


@dataclass(frozen=True, slots=True)
class _Ended:
    """A run that came to an end: the document of its answer, or of the task that it became."""

    document: dict[str, Any]
    status: HTTPStatus = HTTPStatus.OK
    location: str = ""

    def response(self) -> Response:
        """The whole answer."""
        headers = {"location": self.location} if self.location else {}
        return Response(orjson.dumps(self.document), self.status, headers, "application/json")


class _RunCall(Call):
    """One request of our own protocol."""

    async def respond(self) -> Response:
        """Answer whole, or by server-sent events."""
        asked = await self._asked()
        if asked.question.stream:
            return await self.streamed(lambda channel: self._show(asked, channel))
        return (await while_present(self.request, self._ended(asked, unwatched))).response()

    def told(self, problem: Problem) -> Response:
        """A problem document."""
        return problem.response(**self._names())

    async def _asked(self) -> _Asked:
        context, request = self.context, self.request
        caller = context.access.authenticate(request.headers)
        body = await read_run_request(request)
        caller = caller.named(body.user_id)
        question = question_of(body)
        turn = turn_in(request, context.ids, caller.user, body.conversation_id)
        context.book.identify(self.record, turn, user_split_by(caller))
        return _Asked(question, asker_of(request, caller, turn, body.conversation_id), body)

    async def _ended(self, asked: _Asked, emit: EventSink) -> _Ended:
        """Run to an end; a run that waits for a person becomes a task. Raises RunFailed and Problem."""
        try:
            answer = await self.execute(asked.question, asked.asker, emit)
        except ApprovalNeeded as waiting:
            task = await self.context.adopt(asked.body, asked.asker, waiting)
            return _Ended(task, HTTPStatus.ACCEPTED, f"tasks/{task['task_id']}")
        document = await self.context.documents.of(answer, asked.asker, self.record)
        return _Ended(document.model_dump(mode="json"))

    async def _show(self, asked: _Asked, channel: Channel) -> None:
        async def emit(event: Event) -> None:
            await channel.send(event_bytes(event), opens=not isinstance(event, RunStarted))

        try:
            last: Event = Completed((await self._ended(asked, emit)).document)
        except (RunFailed, Problem) as error:
            if not channel.opened.is_set():
                raise
            problem = error.failure.problem if isinstance(error, RunFailed) else error
            last = Failed(problem.document(**self._names()))
        await emit(last)

    def _names(self) -> dict[str, str]:
        return {"request_id": self.request_id, "conversation_id": str(self.record.turn.conversation)}


def event_bytes(event: Event) -> bytes:
    """An event as a stream shows it."""
    return sse(asdict(event), event.type)
