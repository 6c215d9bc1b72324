"""The sidecar's process: wires the parts and ends as soon as one of them ends."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from aiohttp import web
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from agent_gateway.control.board import Board
from agent_gateway.control.convergence import Convergence
from agent_gateway.control.publication import Publisher
from agent_gateway.control.server import ControlServer
from agent_gateway.envoy.admin import EnvoyAdmin
from agent_gateway.envoy.files import ConfigFolder
from agent_gateway.envoy.heap import heap_bytes
from agent_gateway.envoy.render import Layout, render_first
from agent_gateway.envoy.resources import FAILURES_FILE
from agent_gateway.failures.access_log import FailureCounts
from agent_gateway.failures.failure_log import FailureLog
from agent_gateway.metrics import Metrics
from agent_gateway.settings import Settings
from agent_gateway.watching.lease import LeaseClock
from agent_gateway.watching.store import Store
from agent_gateway.watching.watch import Reflector, route_kind, slice_kind

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """The wired parts of one sidecar, without its source of routes."""

    store: Store
    convergence: Convergence
    failures: FailureLog
    server: ControlServer
    metrics: Metrics


def build_gateway(settings: Settings, admin: EnvoyAdmin) -> Gateway:
    """Wire the parts, and write Envoy's first configuration where there is none yet."""
    layout = Layout(
        settings.config_dir, settings.listen_address, settings.admin_port, settings.front_door_port, heap_bytes()
    )
    folder = ConfigFolder(settings.config_dir)
    folder.prepare(render_first(layout))
    metrics = Metrics()
    store = Store(LeaseClock(settings.lease_seconds), time.monotonic)
    board = Board(settings.pod_name)
    publisher = Publisher(folder, admin, settings.confirm_seconds)
    convergence = Convergence(store, publisher, admin, board, layout, metrics)
    counts = FailureCounts(settings.pod_name)
    return Gateway(
        store=store,
        convergence=convergence,
        failures=FailureLog(settings.config_dir / FAILURES_FILE, counts, admin, metrics),
        server=ControlServer(board, counts, convergence, admin, metrics, settings.config_dir),
        metrics=metrics,
    )


async def run_sidecar(settings: Settings) -> None:
    """Serve until SIGTERM.

    Raises:
        ExceptionGroup: if any part died; the process must end then, so that the kubelet starts it anew.

    """
    async with EnvoyAdmin(settings.admin_port) as admin, _api_client(settings) as client:
        gateway = build_gateway(settings, admin)
        async with serving(gateway, settings.control_port):
            kinds = (route_kind(gateway.store), slice_kind(gateway.store))
            reflectors = [Reflector(client, settings.namespace, kind, gateway.metrics) for kind in kinds]
            await run_until_signalled(
                gateway.convergence.run(), gateway.failures.run(), *(reflector.run() for reflector in reflectors)
            )


@asynccontextmanager
async def serving(gateway: Gateway, port: int) -> AsyncIterator[None]:
    """Serve the control port meanwhile."""
    runner = web.AppRunner(gateway.server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()


async def run_until_signalled(*parts: Coroutine[Any, Any, None]) -> None:
    """Run parts that never end; a signal cancels them, the death of one raises."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(part) for part in parts]
        await stop.wait()
        _log.info("stopping")
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def _api_client(settings: Settings) -> AsyncIterator[kubernetes_client.ApiClient]:
    configuration = kubernetes_client.Configuration()
    if settings.kubeconfig:
        await kubernetes_config.load_kube_config(settings.kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        kubernetes_config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with kubernetes_client.ApiClient(configuration) as client:
        yield client
