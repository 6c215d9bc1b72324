"""The sidecar's own endpoints, for the operator, the kubelet and Prometheus."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import generate_latest

from agent_api.acknowledgement import APPLIED_PATH
from agent_api.observations import OBSERVATIONS_PATH
from agent_gateway.control.board import Board
from agent_gateway.control.convergence import Convergence
from agent_gateway.envoy.admin import AdminUnavailableError, EnvoyAdmin
from agent_gateway.envoy.problems import PROBLEM_CONTENT_TYPE, problem_document
from agent_gateway.envoy.render_listener import STAT_PREFIX
from agent_gateway.envoy.resources import DRAINING_FILE
from agent_gateway.failures.access_log import FailureCounts
from agent_gateway.metrics import Metrics

_log = structlog.get_logger(__name__)

ACTIVE_REQUESTS = rf"^http\.{STAT_PREFIX}\..*\.downstream_rq_active$"


@dataclass(frozen=True, slots=True)
class ControlServer:
    """Answers `/applied`, `/observations`, `/ready`, `/healthz` and `/metrics`."""

    board: Board
    counts: FailureCounts
    convergence: Convergence
    admin: EnvoyAdmin
    metrics: Metrics
    config_dir: Path

    def application(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=1024)
        app.router.add_get(APPLIED_PATH, self._applied)
        app.router.add_get(OBSERVATIONS_PATH, self._observations)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _applied(self, request: web.Request) -> web.Response:
        try:
            since = int(request.query.get("since", "-1"))
            wait = float(request.query.get("wait", "0"))
        except ValueError:
            return _invalid("since is a version, wait a number of seconds")
        applied = await self.board.newer_than(since, wait)
        return _document(applied.model_dump_json(by_alias=True))

    async def _observations(self, request: web.Request) -> web.Response:
        agent = request.query.get("agent")
        try:
            since = int(request.query.get("since", "0"))
        except ValueError:
            return _invalid("since is Unix time in whole seconds")
        try:
            in_flight = sum((await self.admin.stats(ACTIVE_REQUESTS)).values())
        except AdminUnavailableError:
            in_flight = 0
        return _document(self.counts.observations(in_flight, agent, since).model_dump_json(by_alias=True))

    async def _ready(self, request: web.Request) -> web.Response:
        del request
        if (self.config_dir / DRAINING_FILE).exists():
            return web.Response(status=503, text="draining\n")
        if not self.convergence.latched:
            return web.Response(status=503, text="the first configuration is not in force yet\n")
        if not await self.admin.live():
            return web.Response(status=503, text="Envoy is not live\n")
        return web.Response(text="ready\n")

    async def _healthz(self, request: web.Request) -> web.Response:
        del request
        return web.Response(text="ok\n")

    async def _metrics(self, request: web.Request) -> web.Response:
        del request
        body = generate_latest(self.metrics.registry)
        return web.Response(body=body, headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"})


def _document(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")


def _invalid(detail: str) -> web.Response:
    document = problem_document("invalid-query", "Invalid query", HTTPStatus.BAD_REQUEST, detail)
    return web.Response(status=HTTPStatus.BAD_REQUEST, text=json.dumps(document), content_type=PROBLEM_CONTENT_TYPE)
