"""The HTTP side of the traffic pod: start, stop, and what was noted. Reached through the API server's proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from demo.traffic.client import Traffic
from demo.traffic.records import Journal
from demo.traffic.script import Load

MAX_PAGE = 4000
_STOP_SECONDS = 5.0
_REACHABLE_SECONDS = 20.0


class Control:
    """One traffic at a time; the journal goes on from one to the next."""

    def __init__(self, url: str, journal: Journal) -> None:
        self._url = url
        self._journal = journal
        self._traffic: Traffic | None = None
        self._task: asyncio.Task[None] | None = None

    def application(self) -> web.Application:
        """Application that stops the traffic when it ends."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/records", self._records),
                web.get("/summary", self._summary),
                web.post("/start", self._start),
                web.post("/finish", self._finish),
                web.post("/stop", self._stop),
            ]
        )
        app.cleanup_ctx.append(self._lifetime)
        return app

    async def _lifetime(self, _app: web.Application) -> AsyncIterator[None]:
        yield
        await self._cancel()

    @property
    def _running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _records(self, request: web.Request) -> web.Response:
        try:
            cursor = max(0, int(request.query.get("since", "0")))
        except ValueError:
            return web.json_response({"detail": "since must be a whole number"}, status=400)
        return web.json_response(self._journal.page(cursor, MAX_PAGE).document())

    async def _summary(self, _request: web.Request) -> web.Response:
        return web.json_response(self._summarized())

    def _summarized(self) -> dict[str, Any]:
        summary: dict[str, Any] = {
            "running": self._running,
            "requests": self._journal.count,
            "failures": self._journal.failures,
        }
        if self._task is not None and self._task.done() and not self._task.cancelled() and self._task.exception():
            summary["error"] = repr(self._task.exception())
        return summary

    async def _start(self, request: web.Request) -> web.Response:
        if self._running:
            return web.json_response({"detail": "traffic runs already"}, status=409)
        try:
            load = Load.read(json.loads(await request.text() or "{}"))
        except (TypeError, ValueError) as error:
            return web.json_response({"detail": str(error)}, status=400)
        if not await self._is_reachable():
            return web.json_response({"detail": f"nothing answers at {self._url}"}, status=503)
        self._traffic = Traffic(self._url, load, self._journal)
        self._task = asyncio.create_task(self._traffic.run())
        return web.json_response(self._summarized())

    async def _is_reachable(self) -> bool:
        """Wait until the agent's Service, which may have been made this very moment, is known on this node."""
        deadline = asyncio.get_running_loop().time() + _REACHABLE_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while asyncio.get_running_loop().time() < deadline:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with session.get(f"{self._url}/health") as response:
                        if response.status == 200:  # noqa: PLR2004 - HTTP's OK
                            return True
                await asyncio.sleep(0.1)
        return False

    async def _finish(self, _request: web.Request) -> web.Response:
        if self._traffic is not None:
            self._traffic.finish()
        return web.json_response(self._summarized())

    async def _stop(self, _request: web.Request) -> web.Response:
        await self._cancel()
        return web.json_response(self._summarized())

    async def _cancel(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.wait((self._task,))
