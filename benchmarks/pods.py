"""The processes of one runtime pod on this machine: a model endpoint with a tool, a Redis, and the runtime."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.gateway_overhead import free_ports
from benchmarks.model_upstream import MODEL, TOOL
from demo.console import ROOT
from demo.errors import DemoError

START_SECONDS = 90.0
REVISION = "bench-5c9f0a1b2d"
_STOP_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Server:
    """One server: where it listens, and the process whose CPU and memory count."""

    port: int
    process: int

    def url(self, path: str) -> str:
        """URL of a path of it."""
        return f"http://127.0.0.1:{self.port}{path}"


def start_upstream(stack: contextlib.ExitStack) -> str:
    """Start the model endpoint with its tool; its URL."""
    server = start_printing(stack, [sys.executable, "-m", "benchmarks.model_upstream"])
    return server.url("")


def start_printing(stack: contextlib.ExitStack, argv: list[str], **environment: str) -> Server:
    """Start a server that prints its port; raises DemoError if it ends instead."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
    )
    stack.callback(_stop, process)
    line = process.stdout.readline() if process.stdout else b""
    if not line:
        raise DemoError(f"{' '.join(argv[1:])} did not start")
    return Server(int(line), process.pid)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(_STOP_SECONDS)
    for stream in filter(None, (process.stdin, process.stdout)):
        stream.close()


def start_redis(stack: contextlib.ExitStack, folder: Path, fsync: str = "always") -> Server:
    """Start a Redis; unless told otherwise it writes as the operator's trial store does: to disk, before it answers.

    Raises:
        DemoError: it does not start.
    """
    (port,) = free_ports(1)
    argv = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    log = stack.enter_context((folder / "redis.log").open("wb"))
    try:
        process = subprocess.Popen([*argv, "--appendonly", "yes", "--appendfsync", fsync], stdout=log)
    except OSError as error:
        raise DemoError(f"redis-server cannot be started: {error}") from error
    stack.callback(_stop, process)
    _await_port(port)
    return Server(port, process.pid)


def _await_port(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise DemoError(f"nothing listens on port {port}")


def start_runtime(stack: contextlib.ExitStack, folder: Path, upstream: str, redis_port: int) -> Server:
    """Start the runtime as in a pod, with everything on.

    Raises:
        DemoError: it does not become ready.
    """
    (port,) = free_ports(1)
    for name, content in pod_files(upstream, redis_port).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    log = stack.enter_context((folder / "runtime.log").open("wb"))
    environment = {
        "GREYLAG_DOCUMENT": str(folder / "document.json"),
        "GREYLAG_LIVE": str(folder / "live.json"),
        "GREYLAG_STORE_DIRECTORY": str(folder / "store"),
        "GREYLAG_HOST": "127.0.0.1",
        "GREYLAG_PORT": str(port),
        "OTEL_EXPORTER_OTLP_ENDPOINT": upstream,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_runtime"], cwd=ROOT, env={**os.environ, **environment}, stdout=log
    )
    stack.callback(_stop, process)
    server = Server(port, process.pid)
    _await_ready(server, folder)
    return server


def _await_ready(server: Server, folder: Path) -> None:
    async def ready() -> bool:
        async with aiohttp.ClientSession() as session, session.get(server.url("/ready")) as response:
            return response.status == 200  # noqa: PLR2004 - OK

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            if asyncio.run(ready()):
                return
        time.sleep(0.1)
    raise DemoError(f"the runtime does not become ready: {(folder / 'runtime.log').read_text()[-500:]}")


def pod_files(upstream: str, redis_port: int) -> dict[str, str]:
    """Files of a pod with everything on, by path."""
    endpoint = {
        "model": MODEL,
        "baseUrl": f"{upstream}/v1",
        "maxOutputTokens": 1024,
        "firstTokenSeconds": 20,
        "idleSeconds": 15,
        "totalSeconds": 60,
        "price": {"inputMicro": 150_000, "outputMicro": 600_000},
    }
    document: dict[str, Any] = {
        "agent": "bench",
        "namespace": "bench",
        "revision": REVISION,
        "instructions": "You answer questions about the weather.",
        "maxIterations": 10,
        "timeoutSeconds": 60,
        "endpoints": [endpoint],
        "retry": {"maxAttempts": 3, "baseDelaySeconds": 1, "maxDelaySeconds": 30},
        "tools": [{"name": "api", "openApiUrl": f"{upstream}/openapi.json", "baseUrl": upstream}],
        "toolPolicy": {"rules": [{"tools": [f"api.{TOOL}"], "action": "Allow", "when": "size(args.city) < 100"}]},
        "guards": {"blockedInput": ["(?i)ignore (all|previous) instructions"]},
        "cache": {"ttlSeconds": 3600, "scope": "User"},
    }
    live = {
        "budgets": {
            "requestMicro": 500_000,
            "requestTokens": 50_000,
            "userDailyMicro": 5_000_000_000,
            "dailyMicro": 100_000_000_000,
        },
        "rateLimits": {"requestsPerMinute": 10_000_000, "perUserPerMinute": 10_000_000, "maxConcurrent": 1000},
    }
    return {
        "document.json": json.dumps(document),
        "live.json": json.dumps(live),
        "store/url": f"redis://127.0.0.1:{redis_port}/0",
    }
