"""What the peers have in common: an HTTP server around one function, on a free port that is printed."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import uvicorn
from fastapi import FastAPI, Request

INSTRUCTIONS = "You answer questions about the weather."
_session: list[aiohttp.ClientSession] = []


async def fetch_weather(base_url: str, city: str) -> str:
    """Ask the tool, over kept connections."""
    if not _session:
        _session.append(aiohttp.ClientSession())
    async with _session[0].get(f"{base_url}/weather", params={"city": city}) as response:
        return await response.text()


def serve(answer: Callable[[str], Awaitable[str]]) -> None:
    """Serve `POST /run` by `answer` until standard input ends."""
    app = FastAPI()

    @app.post("/run")
    async def run(request: Request) -> dict[str, Any]:
        body = await request.json()
        return {"answer": await answer(body["query"])}

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="warning")
    server = uvicorn.Server(config)

    async def main() -> None:
        async def stop() -> None:
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
            server.should_exit = True

        watcher = asyncio.create_task(stop())
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve([listener])
        watcher.cancel()

    asyncio.run(main())
