"""Real sources of tools, each in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_api.runtime_document import ToolPolicyDocument
from agent_api.v1alpha1.tools import ToolAction
from agent_runtime.core.loop import ToolCall
from agent_runtime.tools.box import ToolboxOfSources
from agent_runtime.tools.toolbox import ToolScope

HERE = Path(__file__).parent
START_SECONDS = 30


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@dataclass
class Program:
    """A server of tools; the same port after a restart."""

    script: str
    port: int
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / self.script),
            str(self.port),
            env={"PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(self._answers, START_SECONDS)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()


async def until(condition, seconds: float = 15) -> None:
    """Wait until a condition, perhaps a coroutine function, holds."""
    async with asyncio.timeout(seconds):
        while True:
            held = condition()
            if (await held) if asyncio.iscoroutine(held) else held:
                return
            await asyncio.sleep(0.02)


def call_of(name: str, arguments: str = "{}", call_id: str = "call-1") -> ToolCall:
    return ToolCall(call_id, name, arguments)


def scope_of(**facts) -> ToolScope:
    return ToolScope("request-1", "user-1", asyncio.get_running_loop().time() + 60, **facts)


@pytest.fixture
def until_true():
    return until


@pytest.fixture
def call():
    return call_of


@pytest.fixture
def scope():
    return scope_of


@pytest.fixture
def allow_all():
    return ToolPolicyDocument(default=ToolAction.ALLOW, timeout_seconds=5)


@pytest.fixture
async def program():
    """Starts servers; all are killed at the end."""
    started: list[Program] = []

    async def start(script: str) -> Program:
        server = Program(script, free_port())
        started.append(server)
        await server.start()
        return server

    yield start
    for server in started:
        await server.kill()


@pytest.fixture
async def running():
    """Runs toolboxes; all are closed at the end, and their owner tasks must have ended."""
    owned: list[tuple[ToolboxOfSources, asyncio.Task]] = []

    async def run(sources, policy, **options) -> ToolboxOfSources:
        box = ToolboxOfSources(sources, policy, **options)
        owned.append((box, asyncio.create_task(box.run())))
        return box

    yield run
    for box, task in owned:
        await box.aclose()
        assert task.done()
        with contextlib.suppress(asyncio.CancelledError):
            await task
