"""An HTTP API as a source of tools, which counts its calls and answers as told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


def _operation(name: str, *arguments: str) -> dict[str, Any]:
    properties = {argument: {"type": "string"} for argument in arguments}
    schema = {"type": "object", "properties": properties, "required": list(arguments), "additionalProperties": False}
    return {
        "operationId": name,
        "description": f"Tool {name}.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": "Done."}},
    }


_DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {"title": "Tools", "version": "1"},
    "paths": {
        "/write": {"post": _operation("write", "text")},
        "/look": {"post": _operation("look", "text")},
        "/fail": {"post": _operation("fail", "text")},
    },
}


@dataclass
class CountedTools:
    """Tools write, look and fail, each with an argument text; `answer` is what the first two say."""

    url: str = ""
    answer: str = "done"
    pause: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def source(self, **changes: Any) -> dict[str, Any]:
        """The source in a document; its tools are counted.<name>, on the wire counted__<name>."""
        return {"name": "counted", "openApi": json.dumps(_DESCRIPTION), "baseUrl": self.url, **changes}

    async def handle(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.counts[name] += 1
        self.headers.append(dict(request.headers))
        self.texts.append((await request.json())["text"])
        await asyncio.sleep(self.pause)
        if name == "fail":
            return web.json_response({"error": "broken"}, status=500)
        return web.json_response({"answer": self.answer})


@asynccontextmanager
async def counted_tools() -> AsyncIterator[CountedTools]:
    """Serve them while the block lasts."""
    tools = CountedTools()
    app = web.Application()
    app.router.add_post("/{name}", tools.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    tools.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield tools
    finally:
        await runner.cleanup()
