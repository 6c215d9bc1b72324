"""`POST /v1/chat/completions`: the agent as a model of the OpenAI protocol."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent_api.meta import COST_HEADER, MODEL_HEADER
from agent_api.observations import Outcome
from agent_runtime.agent import ApprovalNeeded
from agent_runtime.asking import asker_of, requested_format, turn_in, user_split_by
from agent_runtime.core.events import TextDelta
from agent_runtime.documents import cost_of
from agent_runtime.errors import Problem, ProblemType, openai_error
from agent_runtime.failures import IN_VAIN, Failure
from agent_runtime.routes.body import invalid_fields, read_body
from agent_runtime.routes.call import Call, unwatched
from agent_runtime.routes.chat_checks import wrong_fields
from agent_runtime.routes.chat_wire import ChatRequest, call_delta, chunk, completion, finish_reason, usage_chunk
from agent_runtime.routes.presence import while_present
from agent_runtime.routes.streaming import EVENT_STREAM, sse
from agent_runtime.routes.wire import PROBLEMS, body_of
from agent_runtime.runs import Question, RunFailed

if TYPE_CHECKING:
    from agent_runtime.agent import Answer
    from agent_runtime.core.events import Event, EventSink
    from agent_runtime.process import ProcessContext
    from agent_runtime.routes.streaming import Channel
    from agent_runtime.runs import Asker

CHAT_PATH = "/v1/chat/completions"
_DONE = sse("[DONE]")
_RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": {EVENT_STREAM: {}}}}


def chat_router(context: ProcessContext) -> APIRouter:
    """Route of the chat."""
    router = APIRouter(responses=PROBLEMS)

    @router.post(CHAT_PATH, openapi_extra=body_of(ChatRequest), responses=_RESPONSES)
    async def chat(request: Request) -> Response:
        """Ask the agent as a client of the OpenAI protocol does."""
        return await _ChatCall(context, request).answer()

    return router


class _ChatCall(Call):
    """One request of the OpenAI protocol."""

    async def respond(self) -> Response:
        """Answer with a completion, or with its chunks."""
        context = self.context
        caller = context.access.authenticate(self.request.headers)
        body = await read_body(self.request, ChatRequest)
        wrong = list(wrong_fields(body, [spec.wire_name for spec in context.toolbox.specs()]))
        if wrong:
            raise invalid_fields(wrong)
        question = _question(body, context.document.max_iterations)
        asks = caller.named(body.user)
        turn = turn_in(self.request, context.ids, asks.user, None)
        context.book.identify(self.record, turn, user_split_by(caller))
        asker = asker_of(self.request, asks, turn, None)
        if body.stream:
            return await self.streamed(lambda channel: self._show(channel, body, question, asker))
        answer = await while_present(self.request, self._answered(question, asker, unwatched))
        told = completion(answer, self.record.run, self.request_id, context.document.agent)
        return JSONResponse(told, headers=self._beside(answer))

    def _beside(self, answer: Answer) -> dict[str, str]:
        """What the protocol has no place for, as headers; a name that none can hold is left out."""
        headers = {MODEL_HEADER: answer.model} if answer.model.isascii() and answer.model.isprintable() else {}
        cost = cost_of(self.record)
        return headers if cost is None else {**headers, COST_HEADER: cost}

    def told(self, problem: Problem) -> Response:
        """A problem document with the error that such clients look for."""
        return problem.response(request_id=self.request_id, error=openai_error(problem))

    async def _answered(self, question: Question, asker: Asker, emit: EventSink) -> Answer:
        """Run to an answer; the protocol has no way to wait for a person."""
        try:
            return await self.execute(question, asker, emit)
        except ApprovalNeeded as waiting:
            tools = ", ".join(dict.fromkeys(map(self.context.tool_name, waiting.calls)))
            detail = f"The agent wants to use {tools}, which a person has to approve: ask by POST /agent/tasks."
            problem = Problem(ProblemType.APPROVAL_REQUIRED, HTTPStatus.CONFLICT, detail, headers=IN_VAIN)
            raise RunFailed(Failure(problem, Outcome.EXCLUDED)) from None

    async def _show(self, channel: Channel, body: ChatRequest, question: Question, asker: Asker) -> None:
        identity, agent = self.request_id, self.context.document.agent
        await channel.send(sse(chunk(identity, agent, {"role": "assistant", "content": ""})), opens=False)

        async def emit(event: Event) -> None:
            if isinstance(event, TextDelta):
                await channel.send(sse(chunk(identity, agent, {"content": event.text})))

        try:
            answer = await self._answered(question, asker, emit)
        except RunFailed as failed:
            if not channel.opened.is_set():
                raise
            await channel.send(sse({"error": openai_error(failed.failure.problem)}))
            return
        delta = call_delta(answer) if answer.client_calls else {}
        await channel.send(sse(chunk(identity, agent, delta, finish_reason(answer))))
        if body.stream_options is not None and body.stream_options.include_usage:
            await channel.send(sse(usage_chunk(identity, agent, self.record.run)))
        await channel.send(_DONE)


def _question(body: ChatRequest, max_iterations: int) -> Question:
    """What a body asks; raises Problem if the format that it wants cannot be checked."""
    return Question(
        messages=body.run_messages(),
        max_iterations=max_iterations,
        remembered=False,
        stream=bool(body.stream),
        response_format=body.response_format,
        output=requested_format(body.response_format),
        client_tools=body.client_tools(),
    )
