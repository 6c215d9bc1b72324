"""Real processes on loopback: the runtime, the simulated provider, and a provider that misbehaves as told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

ROOT = Path(__file__).parents[3]
REVISION = "support-5c9f0a1b2d"
START_SECONDS = 30
STOP_SECONDS = 20


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n" for e in events)


def delta(text="", finish_reason=None):
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
ANSWER = sse({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}, delta("Hel"), delta("lo"))
END = sse(delta(finish_reason="stop"), USAGE, b"[DONE]")


@dataclass
class Reply:
    """One answer of the misbehaving provider: parts are written in order, a number is a pause in seconds."""

    status: int = 200
    headers: dict = field(default_factory=dict)
    parts: tuple = (ANSWER, END)
    abort: bool = False


@dataclass
class Provider:
    """Answers by model name; a list is used up from the left, its last reply stays."""

    base_url: str
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    calls: list[dict] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    aborted: asyncio.Event = field(default_factory=asyncio.Event)

    def models_called(self) -> list[str]:
        return [call["body"]["model"] for call in self.calls]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.calls.append({"body": body, "headers": request.headers.copy()})
        self.called.set()
        queue = self.replies.get(body["model"], [Reply()])
        reply = queue.pop(0) if len(queue) > 1 else queue[0]
        if reply.status != 200:
            key = request.headers.get("authorization", "")
            return web.json_response({"error": {"message": f"bad {key}"}}, status=reply.status, headers=reply.headers)
        return await self._stream(request, reply)

    async def _stream(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        try:
            for part in reply.parts:
                if isinstance(part, bytes):
                    if not response.prepared:
                        await response.prepare(request)
                    await response.write(part)
                else:
                    await asyncio.sleep(part)
        except (asyncio.CancelledError, ConnectionError):
            self.aborted.set()
            raise
        if reply.abort:
            request.transport.abort()
        return response


@pytest.fixture(scope="session")
def provider_port():
    """Every test's provider listens here, so that one runtime process can serve many tests."""
    return free_port()


@pytest.fixture
async def provider(provider_port):
    scripted = Provider(f"http://127.0.0.1:{provider_port}/v1")
    app = web.Application()
    app.router.add_post("/v1/chat/completions", scripted.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", provider_port).start()
    yield scripted
    await runner.cleanup()


@pytest.fixture
def reply():
    return Reply


@pytest.fixture
def wire():
    """The parts that a streamed answer is made of."""
    return {"answer": ANSWER, "end": END, "sse": sse, "delta": delta, "usage": USAGE}


def build_document(base_url, *models, retry=None, timeout=20, **endpoint):
    common = {
        "baseUrl": base_url,
        "maxOutputTokens": 100,
        "firstTokenSeconds": 5,
        "idleSeconds": 5,
        "totalSeconds": 10,
        **endpoint,
    }
    return {
        "agent": "support",
        "revision": REVISION,
        "instructions": "Be kind.",
        "maxIterations": 10,
        "timeoutSeconds": timeout,
        "endpoints": [{"model": model, **common} for model in models or ("gpt-x",)],
        "retry": {"maxAttempts": 3, "baseDelaySeconds": 0.01, "maxDelaySeconds": 0.05, **(retry or {})},
    }


@pytest.fixture
def document_of():
    return build_document


class Process:
    """One process of ours, whose output is kept in a file."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        self._log = log
        self._read_from = 0
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error", **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def output(self) -> str:
        return self._log.read_bytes()[self._read_from :].decode()

    def forget_output(self) -> None:
        self._read_from = self._log.stat().st_size

    def lines(self, event: str) -> list[dict]:
        return [line for line in map(json.loads, self.output().splitlines()) if line["event"] == event]

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self._process.wait, STOP_SECONDS)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(STOP_SECONDS)


@dataclass
class Runtime:
    """A runtime process and a way to speak to it."""

    process: Process
    url: str
    http: aiohttp.ClientSession

    async def run(self, body=None, headers=None, **options):
        async with self.http.post(
            f"{self.url}/agent/run", json={"query": "hi"} if body is None else body, headers=headers, **options
        ) as response:
            return response.status, response.headers, await response.json(content_type=None)

    async def run_raw(self, content, content_type="application/json"):
        async with self.http.post(
            f"{self.url}/agent/run", data=content, headers={"content-type": content_type}
        ) as response:
            return response.status, response.headers, await response.json(content_type=None)

    async def get(self, path):
        async with self.http.get(self.url + path) as response:
            return response.status, await response.text()

    async def connect(self):
        return await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))

    async def observations(self):
        return json.loads((await self.get("/observations"))[1])

    async def until_answers(self, path):
        async def answers():
            return (await self.get(path))[0] == 200

        await self.until(answers)

    async def until(self, condition, seconds=START_SECONDS):
        deadline = time.monotonic() + seconds
        while True:
            try:
                if await condition():
                    return
            except aiohttp.ClientConnectionError:
                pass
            assert time.monotonic() < deadline, self.process.output()
            await asyncio.sleep(0.02)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


def start_process(document, folder: Path, environment: dict[str, str]) -> tuple[Process, str]:
    port = free_port()
    path = folder / f"document-{port}.json"
    path.write_text(json.dumps(document))
    common = {
        "GREYLAG_DOCUMENT": str(path),
        "GREYLAG_HOST": "127.0.0.1",
        "GREYLAG_PORT": str(port),
        "GREYLAG_CREDENTIALS_DIRECTORY": str(folder / "credentials"),
        "GREYLAG_POD_NAME": "pod-1",
        "GREYLAG_LAME_DUCK_SECONDS": "0",
    }
    process = Process("agent_runtime", {**common, **environment}, folder / f"runtime-{port}.log")
    return process, f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def standing_process(tmp_path_factory, provider_port):
    document = build_document(f"http://127.0.0.1:{provider_port}/v1", "gpt-x")
    process, url = start_process(document, tmp_path_factory.mktemp("standing"), {})
    yield process, url
    process.kill()


@pytest.fixture
async def runtime(standing_process, provider, http):
    """A runtime process that tests share which need neither its counts nor a document of their own."""
    process, url = standing_process
    process.forget_output()
    shared = Runtime(process, url, http)
    await shared.until_answers("/ready")
    process.forget_output()
    return shared


@pytest.fixture
async def start_runtime(tmp_path, http):
    """Starts runtime processes, which end with the test."""
    stack = AsyncExitStack()

    async def start(document, ready=True, **environment):
        process, url = start_process(document, tmp_path, environment)
        stack.callback(process.kill)
        runtime = Runtime(process, url, http)
        await runtime.until_answers("/ready" if ready else "/health")
        return runtime

    async with stack:
        yield start


@pytest.fixture
async def model_server(tmp_path, http):
    """The simulated provider of the demo, with 40 % failures and no latency."""
    port = free_port()
    process = Process(
        "demo.model_server",
        {"PORT": str(port), "HOST": "127.0.0.1", "LATENCY_MS": "0", "BAD_PERCENT": "40"},
        tmp_path / "model-server.log",
    )
    server = Runtime(process, f"http://127.0.0.1:{port}", http)
    await server.until_answers("/health")
    yield server
    process.kill()
