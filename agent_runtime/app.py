"""The HTTP application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route

from agent_runtime.asking import question_of
from agent_runtime.envelope import Envelope
from agent_runtime.guards.blocked import GuardBlocked
from agent_runtime.routes.chat import chat_router
from agent_runtime.routes.conversations import conversations_router
from agent_runtime.routes.description import with_callers
from agent_runtime.routes.models import models_router
from agent_runtime.routes.pages import pages_router
from agent_runtime.routes.run import run_router
from agent_runtime.routes.state import state_router
from agent_runtime.routes.tasks import TaskDesk, tasks_router
from agent_runtime.routes.unserved import ServedPaths, http_error_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from agent_runtime.process import ProcessContext, Shared
    from agent_runtime.routes.tasks import Authenticate
    from agent_runtime.routes.wire import RunRequest


class _Application(FastAPI):
    """The application; its description says more than FastAPI finds out."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = with_callers(super().openapi())
        return self.openapi_schema


def create_app(context: ProcessContext) -> FastAPI:
    """Application that serves one agent revision."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await context.start()
        yield
        await context.stop()

    app = _Application(
        title="Greylag agent",
        version="v1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # A redirect names the host and the scheme that this process sees, which are not those of the caller.
        redirect_slashes=False,
    )
    runs = (run_router(context), chat_router(context))
    pages = (
        models_router(context),
        state_router(context),
        pages_router(f"Agent {context.document.agent}", app.openapi),
    )
    routers = (*runs, *_store_routers(context), *pages)
    for router in pages:
        _serve_head(router)
    for router in routers:
        app.include_router(router)
    for router in runs:
        app.router.routes[:0] = _short_cuts(router)
    served = ServedPaths([*app.router.routes, *(route for router in routers for route in router.routes)])
    app.add_exception_handler(HTTPException, http_error_handler(served))
    app.add_middleware(Envelope, revision=context.document.revision, drain=context.drain)
    return app


def _store_routers(context: ProcessContext) -> tuple[APIRouter, ...]:
    """Routes of what the store keeps; none without a store."""
    shared = context.shared
    if shared is None:
        return ()
    return (
        tasks_router(_task_desk(context, shared)),
        conversations_router(shared.conversations, context.ids, _authenticate(context)),
    )


def _serve_head(router: APIRouter) -> None:
    """Take HEAD wherever GET is taken: probes and load balancers ask that way."""
    for route in list(router.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            router.add_api_route(
                route.path, route.endpoint, methods=["HEAD"], response_model=None, include_in_schema=False
            )


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
        ids=context.ids,
        poke=shared.worker.poke,
        refuse=refuse,
        draining=lambda: context.drain.begun,
    )
