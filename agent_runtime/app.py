"""The HTTP application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from agent_runtime.asking import question_of
from agent_runtime.envelope import Envelope
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.guards.blocked import GuardBlocked
from agent_runtime.routes.chat import chat_router
from agent_runtime.routes.conversations import conversations_router
from agent_runtime.routes.pages import pages_router
from agent_runtime.routes.run import run_router
from agent_runtime.routes.state import state_router
from agent_runtime.routes.tasks import TaskDesk, tasks_router

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from agent_runtime.process import ProcessContext, Shared
    from agent_runtime.routes.tasks import Authenticate
    from agent_runtime.routes.wire import RunRequest

_TYPES = {
    HTTPStatus.NOT_FOUND: ProblemType.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ProblemType.METHOD_NOT_ALLOWED,
}


def create_app(context: ProcessContext) -> FastAPI:
    """Application that serves one agent revision."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await context.start()
        yield
        await context.stop()

    app = FastAPI(title="Greylag agent", version="v1", lifespan=lifespan, docs_url=None, redoc_url=None)
    for router in (run_router(context), chat_router(context)):
        app.include_router(router)
        app.router.routes[:0] = _short_cuts(router)
    if context.shared is not None:
        app.include_router(tasks_router(_task_desk(context, context.shared)))
        app.include_router(conversations_router(context.shared.conversations, _authenticate(context)))
    app.include_router(state_router(context))
    app.include_router(pages_router(f"Agent {context.document.agent}", app.openapi))
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_middleware(Envelope, revision=context.document.revision, drain=context.drain)
    return app


def _short_cuts(router: APIRouter) -> list[BaseRoute]:
    """Routes to endpoints that need nothing of FastAPI but their description: its way to them costs 4 % of a run."""
    return [
        Route(route.path, route.endpoint, methods=sorted(route.methods or ()))
        for route in router.routes
        if isinstance(route, APIRoute)
    ]


def _authenticate(context: ProcessContext) -> Authenticate:
    """User of a request; None where access is off."""

    async def authenticate(request: Request) -> str | None:
        caller = context.access.authenticate(request.headers)
        return None if caller.credential == "none" else caller.user

    return authenticate


def _task_desk(context: ProcessContext, shared: Shared) -> TaskDesk:
    async def refuse(request: Request, body: RunRequest) -> None:
        """Refuse at once what would fail later: a blocked question, a format that cannot be checked, one too many."""
        question = question_of(body)
        try:
            context.desk.check(question)
        except GuardBlocked as blocked:
            raise blocked.problem() from None
        caller = context.access.authenticate(request.headers)
        await context.desk.count_task(caller.named(body.user_id).user)

    return TaskDesk(
        store=shared.tasks,
        feed=shared.feed,
        authenticate=_authenticate(context),
        revision=context.document.revision,
        poke=shared.worker.poke,
        refuse=refuse,
        draining=lambda: context.drain.begun,
    )


async def _answer_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    problem_type = _TYPES.get(status, ProblemType.HTTP_ERROR)
    return Problem(problem_type, status, status.description or status.phrase, headers=error.headers).response(
        request_id=request.state.request_id
    )
