"""`POST /agent/run`: one synchronous run of the agent."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agent_api.meta import CONVERSATION_HEADER, EPOCH_HEADER, OUTCOME_HEADER
from agent_api.observations import Outcome, conversation_hash
from agent_runtime.agent import Agent, Order
from agent_runtime.core.conversations import Turn, epoch_of, turn_of
from agent_runtime.core.loop import iteration_limit
from agent_runtime.errors import Problem, ProblemType, internal_problem
from agent_runtime.llm.client import DeadlineExceeded, ModelAnswer, ModelUnavailable
from agent_runtime.routes.body import read_run_request
from agent_runtime.routes.presence import ClientGone, while_present
from agent_runtime.routes.wire import RunAnswer, RunRequest

if TYPE_CHECKING:
    from agent_runtime.process import ProcessContext

RUN_PATH = "/agent/run"
CLIENT_CLOSED_REQUEST = 499
_TOKEN_BYTES = 12
_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": RunRequest.model_json_schema()}},
    }
}
_log = structlog.get_logger("agent_runtime.run")


def run_router(context: ProcessContext) -> APIRouter:
    """Route of the run."""
    router = APIRouter()
    agent = Agent(context.document.instructions, context.model)

    @router.post(RUN_PATH, openapi_extra=_OPENAPI, response_model=RunAnswer)
    async def run(request: Request) -> Response:
        """Ask the agent."""
        return await _Run(context, agent, request).answer()

    return router


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a run ended: what is sent, what it counts as, and what the log says."""

    response: Response
    outcome: Outcome
    reason: str
    attempts: int = 0
    answer: ModelAnswer | None = None


class _Run:
    """One request, booked whatever becomes of it."""

    def __init__(self, context: ProcessContext, agent: Agent, request: Request) -> None:
        self._context = context
        self._agent = agent
        self._request = request
        self._request_id: str = request.state.request_id
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()
        self._iterations = context.document.max_iterations
        self._turn = self._turn_of(request.headers.get(CONVERSATION_HEADER))

    async def answer(self) -> Response:
        """Run, book and answer."""
        ticket = self._context.ledger.begin(self._context.clock.now())
        ended = None
        try:
            ended = await self._outcome(ticket)
        finally:
            # Without an end the run was cut off by the end of the process: an error, like any that brings no answer.
            outcome = Outcome.ERROR if ended is None else ended.outcome
            self._context.ledger.end(ticket, outcome, self._context.clock.now())
            self._tell(outcome, ended)
        ended.response.headers[CONVERSATION_HEADER] = str(self._turn.conversation)
        ended.response.headers[OUTCOME_HEADER] = ended.outcome
        return ended.response

    async def _outcome(self, ticket: int) -> _Ended:
        try:
            return self._succeeded(await self._execute(ticket))
        except (ClientGone, ClientDisconnect):
            return _Ended(Response(status_code=CLIENT_CLOSED_REQUEST), Outcome.EXCLUDED, "client-gone")
        except Problem as problem:
            return self._refused(problem, Outcome.EXCLUDED)
        except ModelUnavailable as error:
            failure = Problem(ProblemType.MODEL_UNAVAILABLE, HTTPStatus.BAD_GATEWAY, f"No model answered: {error}.")
            return self._refused(failure, Outcome.ERROR, error.attempts)
        except DeadlineExceeded as error:
            detail = f"No answer within {self._context.document.timeout_seconds:g} seconds: {error}."
            failure = Problem(ProblemType.DEADLINE_EXCEEDED, HTTPStatus.GATEWAY_TIMEOUT, detail)
            return self._refused(failure, Outcome.ERROR, error.attempts)
        except Exception:  # noqa: BLE001 - the boundary: whatever is wrong with us must be booked and told
            _log.exception("run failed unexpectedly", request_id=self._request_id)
            return self._refused(internal_problem(), Outcome.ERROR)

    async def _execute(self, ticket: int) -> ModelAnswer:
        body = await read_run_request(self._request)
        if CONVERSATION_HEADER not in self._request.headers:
            self._turn = self._turn_of(body.conversation_id)
        self._iterations = iteration_limit(body.max_iterations, self._iterations)
        self._context.ledger.identify(ticket, self._turn)
        order = Order(body.query, self._request_id, self._begun + self._context.document.timeout_seconds)
        return await while_present(self._request, self._agent.run(order))

    def _turn_of(self, offered: str | None) -> Turn:
        epoch = epoch_of(self._request.headers.get(EPOCH_HEADER))
        return turn_of(offered, self._context.document.revision, epoch, secrets.token_urlsafe(_TOKEN_BYTES))

    def _succeeded(self, answer: ModelAnswer) -> _Ended:
        body = RunAnswer(
            answer=answer.text,
            tokens_used=None if answer.usage is None else answer.usage.total,
            latency_ms=round(self._elapsed() * 1000),
            request_id=self._request_id,
            conversation_id=str(self._turn.conversation),
            revision=self._context.document.revision,
            model=answer.model,
        )
        response = Response(body.model_dump_json(), media_type="application/json")
        return _Ended(response, Outcome.OK, "answered", answer.attempts, answer)

    def _refused(self, problem: Problem, outcome: Outcome, attempts: int = 0) -> _Ended:
        response = problem.response(request_id=self._request_id, conversation_id=str(self._turn.conversation))
        return _Ended(response, outcome, problem.type, attempts)

    def _elapsed(self) -> float:
        return self._loop.time() - self._begun

    def _tell(self, outcome: Outcome, ended: _Ended | None) -> None:
        answer = None if ended is None else ended.answer
        self._context.metrics.run_ended(outcome, self._elapsed(), counts=outcome is not Outcome.EXCLUDED)
        if answer is not None:
            self._context.metrics.answered(answer)
        _log.info(
            "run",
            request_id=self._request_id,
            conversation=conversation_hash(str(self._turn.conversation)),
            revision=self._context.document.revision,
            outcome=outcome,
            reason="cut-off" if ended is None else ended.reason,
            model=None if answer is None else answer.model,
            attempts=0 if ended is None else ended.attempts,
            tokens=None if answer is None or answer.usage is None else answer.usage.total,
            max_iterations=self._iterations,
            latency_ms=round(self._elapsed() * 1000, 1),
        )
