"""Real processes on loopback: the runtime, the simulated provider, and a provider that misbehaves as told."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.support.pod import python_module, running
from tests.support.runtime_fixtures import http, parent, start_runtime
from tests.support.runtimes import Runtime, Runtimes, document_of, endpoint_of, free_port

__all__ = ["http", "parent", "start_runtime"]


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
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **reply.headers})
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
    endpoints = [endpoint_of(model, base_url, **endpoint) for model in models or ("gpt-x",)]
    return document_of(*endpoints, retry=retry, timeoutSeconds=timeout)


@pytest.fixture(name="document_of")
def document_builder():
    return build_document


@pytest.fixture(scope="session")
def standing_process(parent, tmp_path_factory, provider_port):
    runtimes = Runtimes(parent, tmp_path_factory.mktemp("standing"))
    with runtimes.stack:
        yield runtimes.launch(build_document(f"http://127.0.0.1:{provider_port}/v1", "gpt-x"))


@pytest.fixture
async def runtime(standing_process, provider, http):
    """A runtime process that tests share which need neither its counts nor a document of their own."""
    shared = Runtime(standing_process, http)
    await shared.until_answers("/ready")
    standing_process.forget_output()
    return shared


@pytest.fixture
def model_server(tmp_path):
    """The simulated provider of the demo, with 40 % failures and no latency."""
    argv = python_module("demo.model_server")
    with running(argv, tmp_path / "models.log", "/health", LATENCY_MS="0", BAD_PERCENT="40") as server:
        yield server
