"""What Kubernetes, Prometheus and the operator ask: liveness, readiness, metrics and observations."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from agent_api.observations import OBSERVATIONS_PATH, Observations
from agent_api.report import REPORT_PATH, RuntimeReport
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.body import invalid_fields
from agent_runtime.routes.wire import PROBLEMS

if TYPE_CHECKING:
    from agent_runtime.process import ProcessContext

MAX_TIME = 1 << 53
"""Numbers beyond it are no integers to every reader of JSON."""

_SINCE = {
    "name": "since",
    "in": "query",
    "description": "Unix time in whole seconds: earlier slots are left out.",
    "schema": {"type": "integer", "minimum": 0, "maximum": MAX_TIME, "default": 0},
}


def state_router(context: ProcessContext) -> APIRouter:
    """Routes that show the state of the process."""
    router = APIRouter(responses=PROBLEMS)

    @router.get("/health")
    async def health() -> JSONResponse:
        """Tell that the process is alive."""
        return JSONResponse({"status": "alive"})

    @router.get("/ready")
    async def ready() -> Response:
        """Tell whether runs should be sent here, and if not, why."""
        reasons = context.unreadiness()
        if not reasons:
            return JSONResponse({"status": "ready", "revision": context.document.revision})
        detail = "; ".join(reasons)
        members = {"reasons": reasons}
        return Problem(ProblemType.NOT_READY, HTTPStatus.SERVICE_UNAVAILABLE, detail, members).response()

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(context.metrics.render(), media_type=CONTENT_TYPE_LATEST)

    @router.get(REPORT_PATH, response_model=RuntimeReport)
    async def report() -> Response:
        """State of what all pods share, for the operator."""
        found = await context.report()
        return Response(found.model_dump_json(by_alias=True), media_type="application/json")

    @router.get(OBSERVATIONS_PATH, response_model=Observations, openapi_extra={"parameters": [_SINCE]})
    async def observations(request: Request) -> Response:
        """Counts for the verdict, of slots that begin at `since` or later."""
        since = request.query_params.getlist("since") or ["0"]
        if len(since) > 1 or not _is_time(since[0]):
            wrong = invalid_fields([("since", "Give it once: Unix time in whole seconds, 0 or more")])
            return wrong.response(request_id=request.state.request_id)
        counted = context.ledger.observations(context.clock.now(), int(since[0]))
        return Response(counted.model_dump_json(by_alias=True), media_type="application/json")

    return router


def _is_time(text: str) -> bool:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(MAX_TIME))
    return digits and int(text) <= MAX_TIME
