"""The HTTP side of the simulated provider."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from demo.model_server.faults import fails
from demo.model_server.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("good-v1", "good-v2", "bad-v3")
_MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_ECHO = 200


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the server misbehaves."""

    bad_percent: int = 40
    latency_seconds: float = 0.02


@dataclass(frozen=True, slots=True)
class _Call:
    model: str
    text: str
    prompt_tokens: int
    stream: bool
    include_usage: bool

    @property
    def usage(self) -> dict[str, int]:
        answered = len(self.text.split())
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": answered,
            "total_tokens": self.prompt_tokens + answered,
        }


def create_server(behaviour: Behaviour) -> web.Application:
    """Application with its own statistics."""
    provider = _Provider(behaviour)
    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.add_routes(
        [
            web.post("/v1/chat/completions", provider.complete),
            web.get("/v1/models", provider.models),
            web.get("/stats", provider.stats),
            web.get("/health", provider.health),
        ]
    )
    return app


class _Provider:
    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._statistics = Statistics()

    async def complete(self, request: web.Request) -> web.StreamResponse:
        try:
            call = _read_call(await request.json())
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "The body is not a chat completion request.")
        request_id = request.headers.get("x-request-id", "")
        failed = fails(call.model, request_id, self._behaviour.bad_percent)
        self._statistics.count(call.model, request_id, failed=failed)
        await asyncio.sleep(self._behaviour.latency_seconds)
        if failed:
            return _error(500, "The model is having a bad day.")
        return await _stream(request, call) if call.stream else web.json_response(_completion(call))

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self._statistics.report())

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})


def _read_call(body: dict[str, Any]) -> _Call:
    messages = [str(message["content"]) for message in body["messages"]]
    model = body["model"]
    if not isinstance(model, str) or not messages:
        raise ValueError
    return _Call(
        model=model,
        text=f"{model} answers: {messages[-1][:_MAX_ECHO]}",
        prompt_tokens=sum(len(content.split()) for content in messages),
        stream=bool(body.get("stream", False)),
        include_usage=bool((body.get("stream_options") or {}).get("include_usage", False)),
    )


def _completion(call: _Call) -> dict[str, Any]:
    message = {"role": "assistant", "content": call.text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**_head(call, "chat.completion"), "choices": [choice], "usage": call.usage}


async def _stream(request: web.Request, call: _Call) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
    await response.prepare(request)
    for chunk in _chunks(call):
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _chunks(call: _Call) -> Iterator[dict[str, Any]]:
    head = _head(call, "chat.completion.chunk")
    half = len(call.text) // 2
    deltas: tuple[dict[str, str], ...] = (
        {"role": "assistant", "content": ""},
        {"content": call.text[:half]},
        {"content": call.text[half:]},
    )
    for delta in deltas:
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if call.include_usage:
        yield {**head, "choices": [], "usage": call.usage}


def _head(call: _Call, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-simulated", "object": kind, "created": int(time.time()), "model": call.model}


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "simulated"}}, status=status)
