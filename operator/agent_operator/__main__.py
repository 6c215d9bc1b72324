"""Run the operator: serve health and metrics, wait for the lease, lead, and wait again when it is lost."""

from __future__ import annotations

import asyncio
import signal
import sys

import aiohttp
import structlog
import uvloop
from aiohttp import web
from prometheus_client import generate_latest
from pydantic import ValidationError

from agent_operator.cluster.api import Api, connect
from agent_operator.cluster.elector import Elector, LeaseName
from agent_operator.leadership import Term
from agent_operator.settings import Settings
from agent_operator.telemetry import Telemetry, configure_logging

STUCK_SECONDS = 120.0
DEEPEST_OBJECT = 50_000
"""Recursion that reading an object may take. The API server stores 10,000 levels of what is passed on as it is
(`affinity`, `extra`); one such object must not keep kopf's parser, and so the operator, from all others."""

log = structlog.get_logger(__name__)


def make_app(telemetry: Telemetry) -> web.Application:
    """Health, readiness and metrics of this process."""

    async def healthz(_request: web.Request) -> web.Response:
        stuck = telemetry.standstill()
        if stuck > STUCK_SECONDS:
            return web.Response(status=500, text=f"no reconcile has ended for {stuck:.0f} s\n")
        return web.Response(text="ok\n")

    async def metrics(_request: web.Request) -> web.Response:
        body = generate_latest(telemetry.registry)
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/ready", healthz), web.get("/metrics", metrics)])
    return app


async def run(settings: Settings) -> None:
    """Serve until asked to end; raises the error that makes going on impossible."""
    telemetry = Telemetry()
    runner = web.AppRunner(make_app(telemetry), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", settings.http_port).start()  # noqa: S104 - a pod's port
    connections = await connect()
    lease = LeaseName(settings.pod_namespace, settings.lease_name, settings.pod_name, settings.lease_seconds)
    elector = Elector(Api(connections.lease), lease)
    api, watching = Api(connections.requests, may_write=elector.leads), Api(connections.watches)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        try:
            while await _wait_for_lease(elector):
                log.info("leading", identity=settings.pod_name)
                if not await _lead(elector, Term(api, watching, session, settings, telemetry), telemetry):
                    return
        finally:
            await elector.release()
            await connections.close()
            await runner.cleanup()


async def _wait_for_lease(elector: Elector) -> bool:
    """Wait for the lease; False if the process is asked to end first."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    acquiring = asyncio.create_task(elector.acquire(), name="elector")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, pending = await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    if stopping in done:
        return False
    acquiring.result()
    return True


async def _lead(elector: Elector, term: Term, telemetry: Telemetry) -> bool:
    """Lead for a term; True if the lease was lost, False if the process is asked to end."""
    lost = asyncio.create_task(elector.hold(), name="lease")
    telemetry.leader.set(1)
    try:
        await term.run(lost)
        return lost.done()
    finally:
        telemetry.leader.set(0)
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)


def main() -> int:
    """Run the operator; returns the exit code."""
    sys.setrecursionlimit(DEEPEST_OBJECT)
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "GREYLAG_" + "_".join(str(part) for part in problem["loc"]).upper()
            sys.stderr.write(f"agent_operator: {name}: {problem['msg']}\n")
        return 2
    configure_logging(settings.log_level)
    uvloop.run(run(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
