"""The way from a devcluster's pods, which reach only the machine, to a real provider. Lives as long as the demo."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
from aiohttp import web

from demo.errors import DemoError

PORT = 8010
_PASSED_ON = ("authorization", "content-type", "accept", "x-request-id")
_TIMEOUT = aiohttp.ClientTimeout(total=120, connect=10)
_MAX_BODY_BYTES = 4 * 1024 * 1024
_START_SECONDS = 10.0
_STOP_SECONDS = 1.0


class Relay:
    """Passes calls on to one base URL and streams the answers back; nothing of them is kept or logged."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        """Application that serves `/v1/...`."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/{path:.*}", self._pass_on)
        app.cleanup_ctx.append(self._lifetime)
        return app

    async def _lifetime(self, _app: web.Application) -> Any:  # noqa: ANN401 - an asynchronous generator, as aiohttp wants
        async with aiohttp.ClientSession(timeout=_TIMEOUT, trust_env=True, auto_decompress=False) as session:
            self._session = session
            yield

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if self._session is None:
            return web.Response(status=503)
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        url = f"{self._base_url}/{request.match_info['path']}"
        try:
            async with self._session.post(url, data=await request.read(), headers=headers) as answer:
                return await _stream(request, answer)
        except (aiohttp.ClientError, TimeoutError):
            return web.json_response({"error": {"message": "the provider is not reached"}}, status=502)


async def _stream(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(
        status=answer.status, headers={"content-type": answer.headers.get("content-type", "")}
    )
    await response.prepare(request)
    async for part in answer.content.iter_any():
        await response.write(part)
    await response.write_eof()
    return response


@contextmanager
def relaying(base_url: str, host: str, port: int = PORT) -> Iterator[str]:
    """Relay while the block runs, in a thread; yields the base URL that pods use.

    Raises:
        DemoError: the address cannot be listened on.
    """
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(Relay(base_url).application(), access_log=None, shutdown_timeout=_STOP_SECONDS)
    thread = threading.Thread(target=loop.run_forever, name="relay", daemon=True)
    thread.start()

    def wait_for(coroutine: Any) -> None:  # noqa: ANN401 - any coroutine
        asyncio.run_coroutine_threadsafe(coroutine, loop).result(_START_SECONDS)

    try:
        wait_for(_listen(runner, host, port))
        yield f"http://{host}:{port}/v1"
    except OSError as error:
        raise DemoError(f"the relay cannot listen on {host}:{port}: {error}") from error
    finally:
        wait_for(runner.cleanup())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_SECONDS)
        loop.close()


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
