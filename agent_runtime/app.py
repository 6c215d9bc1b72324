"""The HTTP application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException

from agent_runtime.envelope import Envelope
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.run import run_router
from agent_runtime.routes.state import state_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from agent_runtime.process import ProcessContext

_TYPES = {
    HTTPStatus.NOT_FOUND: ProblemType.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ProblemType.METHOD_NOT_ALLOWED,
}


def create_app(context: ProcessContext) -> FastAPI:
    """Application that serves one agent revision."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await context.http.aclose()

    app = FastAPI(title="Greylag agent", version="v1", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.include_router(run_router(context))
    app.include_router(state_router(context))
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_middleware(Envelope, revision=context.document.revision, drain=context.drain)
    return app


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    problem_type = _TYPES.get(status, ProblemType.HTTP_ERROR)
    return Problem(problem_type, status, status.description or status.phrase, headers=error.headers).response(
        request_id=request.state.request_id
    )
