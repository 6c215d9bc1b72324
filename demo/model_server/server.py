"""The HTTP side of the simulated provider."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from demo.model_server.asked import Asked, read_asked
from demo.model_server.faults import fails
from demo.model_server.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

MODELS = ("good-v1", "good-v2", "bad-v3", "tooluser-v1")
_MAX_BODY_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the server misbehaves."""

    bad_percent: int = 40
    latency_seconds: float = 0.02


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
            asked = read_asked(await request.json())
        except (ValueError, LookupError, TypeError, AttributeError):
            return _error(400, "The body is not a chat completion request.")
        request_id = request.headers.get("x-request-id", "")
        failed = fails(asked.model, request_id, self._behaviour.bad_percent)
        self._statistics.count(asked.model, request_id, failed=failed)
        await asyncio.sleep(self._behaviour.latency_seconds + asked.wait_seconds)
        if failed:
            return _error(500, "The model is having a bad day.")
        return await _stream(request, asked) if asked.stream else web.json_response(_completion(asked))

    async def models(self, _request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in MODELS]})

    async def stats(self, _request: web.Request) -> web.Response:
        return web.json_response(self._statistics.report())

    async def health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})


def _completion(asked: Asked) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": asked.text or None}
    if asked.tool_requests:
        message["tool_calls"] = _tool_calls(asked)
    choice = {"index": 0, "message": message, "finish_reason": asked.finish_reason}
    return {**_head(asked, "chat.completion"), "choices": [choice], "usage": asked.usage}


def _tool_calls(asked: Asked) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in asked.tool_requests
    ]


async def _stream(request: web.Request, asked: Asked) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
    await response.prepare(request)
    for chunk in _chunks(asked):
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


def _chunks(asked: Asked) -> Iterator[dict[str, Any]]:
    head = _head(asked, "chat.completion.chunk")
    for delta in _deltas(asked):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": asked.finish_reason}]}
    if asked.include_usage:
        yield {**head, "choices": [], "usage": asked.usage}


def _deltas(asked: Asked) -> Iterator[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    if asked.text:
        half = len(asked.text) // 2
        yield {"content": asked.text[:half]}
        yield {"content": asked.text[half:]}
    for index, call in enumerate(_tool_calls(asked)):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        begin = {**call, "index": index, "function": {**call["function"], "arguments": arguments[:half]}}
        yield {"tool_calls": [begin]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}


def _head(asked: Asked, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-simulated", "object": kind, "created": int(time.time()), "model": asked.model}


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "simulated"}}, status=status)
