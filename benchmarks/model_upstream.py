"""A model endpoint and a tool, as small as can be: `python -m benchmarks.model_upstream` prints its port and serves.

The model asks once for the tool, then answers. It streams where it is asked to, and reports usage in both ways. To a
question that `paced_question` makes it answers slowly, and without the tool.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvloop
from aiohttp import web

MODEL = "gpt-4o-mini"
TOOL = "weather"
_USAGE = {"prompt_tokens": 420, "completion_tokens": 40, "total_tokens": 460}
_ANSWER = "It is sunny in Paris, with 21 degrees and a light wind from the west."
_ARGUMENTS = '{"city": "Paris"}'
_PACED = "paced"
_HEAD: dict[str, Any] = {"id": "chatcmpl-1", "created": 1, "model": MODEL}


def paced_question(parts: int, seconds: float, size: int, name: str) -> str:
    """Question whose answer comes in so many parts of so many characters, with a pause before each."""
    return f"{_PACED} {parts} {seconds} {size} {name}"


def _tool_name(body: dict[str, Any]) -> str:
    names: list[str] = [tool["function"]["name"] for tool in body.get("tools", ())]
    return next((name for name in names if name.endswith(TOOL)), TOOL)


def _call(body: dict[str, Any]) -> dict[str, Any]:
    function = {"name": _tool_name(body), "arguments": _ARGUMENTS}
    return {"id": "call_1", "type": "function", "function": function}


def _message(body: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if any(message["role"] == "tool" for message in body["messages"]):
        return {"role": "assistant", "content": _ANSWER}, "stop"
    return {"role": "assistant", "content": None, "tool_calls": [_call(body)]}, "tool_calls"


def _chunks(body: dict[str, Any]) -> bytes:
    message, reason = _message(body)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if message.get("tool_calls"):
        deltas.append({"tool_calls": [{"index": 0, **message["tool_calls"][0]}]})
    else:
        deltas += [{"content": part} for part in _parts(message["content"])]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": reason})
    head = {**_HEAD, "object": "chat.completion.chunk"}
    events = [{**head, "choices": [choice]} for choice in choices]
    return b"".join(_event(event) for event in events) + _tail()


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _tail() -> bytes:
    head = {**_HEAD, "object": "chat.completion.chunk"}
    return _event({**head, "choices": [], "usage": _USAGE}) + b"data: [DONE]\n\n"


def _parts(text: str) -> list[str]:
    words = text.split(" ")
    return [" ".join(words[n : n + 4]) + " " for n in range(0, len(words), 4)]


async def _paced(request: web.Request, question: str) -> web.StreamResponse:
    _, parts, seconds, size, _ = question.split(maxsplit=4)
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    head = {**_HEAD, "object": "chat.completion.chunk"}
    text = ("word " * (int(size) // 5 + 1))[: int(size)]
    for reason in (*[None] * int(parts), "stop"):
        await asyncio.sleep(float(seconds))
        delta = {} if reason else {"content": text}
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        await response.write(_event({**head, "choices": [choice]}))
    await response.write(_tail())
    return response


async def _complete(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    asked = body["messages"][-1]["content"] or ""
    if asked.startswith(_PACED):
        return await _paced(request, asked)
    if body.get("stream"):
        return web.Response(body=_chunks(body), content_type="text/event-stream")
    message, reason = _message(body)
    choices = [{"index": 0, "message": message, "finish_reason": reason}]
    return web.json_response({**_HEAD, "object": "chat.completion", "choices": choices, "usage": _USAGE})


async def _weather(request: web.Request) -> web.Response:
    return web.json_response({"city": request.query.get("city", ""), "sky": "sunny", "celsius": 21, "wind": "west"})


async def _open_api(_request: web.Request) -> web.Response:
    parameter = {"name": "city", "in": "query", "required": True, "schema": {"type": "string"}}
    operation = {
        "operationId": TOOL,
        "summary": "Weather of a city",
        "parameters": [parameter],
        "responses": {"200": {"description": "The weather"}},
    }
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Weather", "version": "1"},
        "paths": {"/weather": {"get": operation}},
    }
    return web.json_response(document)


async def _swallow(request: web.Request) -> web.Response:
    await request.read()
    return web.Response()


async def serve() -> None:
    """Serve on a free port of loopback until standard input ends, as it does when the parent is gone."""
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/chat/completions", _complete)
    app.router.add_get("/weather", _weather)
    app.router.add_get("/openapi.json", _open_api)
    app.router.add_post("/v1/traces", _swallow)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    await runner.cleanup()


if __name__ == "__main__":
    uvloop.run(serve())
