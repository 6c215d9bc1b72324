"""`GET /v1/models`: the one model that there is, the agent."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agent_runtime.errors import Problem, ProblemType, openai_error
from agent_runtime.routes.wire import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runtime.process import ProcessContext

_MAX_ID_CHARACTERS = 100


def models_router(context: ProcessContext) -> APIRouter:
    """Routes of the list of models, and of a single one."""
    router = APIRouter(responses=PROBLEMS)
    agent = context.document.agent
    entry = {"id": agent, "object": "model", "created": 0, "owned_by": "greylag"}

    def answer(request: Request, found: Callable[[], dict[str, Any]]) -> Response:
        try:
            context.access.authenticate(request.headers)
            return JSONResponse(found())
        except Problem as problem:
            return problem.response(request_id=request.state.request_id, error=openai_error(problem))

    @router.get("/v1/models")
    async def models(request: Request) -> Response:
        """List the agent as the one model that there is."""
        return answer(request, lambda: {"object": "list", "data": [entry]})

    @router.get("/v1/models/{model_id}")
    async def model(request: Request, model_id: str) -> Response:
        """Show the agent as a model; there is no other."""

        def found() -> dict[str, Any]:
            if model_id != agent:
                raise _unknown(model_id, agent)
            return entry

        return answer(request, found)

    return router


def _unknown(model_id: str, agent: str) -> Problem:
    detail = f"There is no model {model_id[:_MAX_ID_CHARACTERS]} here; the agent is the model {agent}."
    return Problem(ProblemType.NOT_FOUND, HTTPStatus.NOT_FOUND, detail)
