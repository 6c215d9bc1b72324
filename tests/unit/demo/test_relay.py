"""The relay between pods and a real provider."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from demo.errors import DemoError
from demo.relay import Relay, relaying


class Provider:
    """A provider that remembers what it was asked, and answers in parts."""

    def __init__(self):
        self.asked = []
        self.app = web.Application()
        self.app.router.add_post("/api/chat/completions", self._complete)

    async def _complete(self, request):
        self.asked.append((dict(request.headers), await request.read()))
        response = web.StreamResponse(status=418, headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for part in (b"data: 1\n\n", b"data: [DONE]\n\n"):
            await response.write(part)
        await response.write_eof()
        return response


async def test_call_and_answer_pass_unchanged():
    provider = Provider()
    async with (
        TestServer(provider.app) as server,
        TestClient(TestServer(Relay(str(server.make_url("/api/"))).application())) as client,
    ):
        headers = {"authorization": "Bearer k", "x-request-id": "r1", "x-other": "no"}
        answer = await client.post("/v1/chat/completions", data=b'{"model": "m"}', headers=headers)
        assert (answer.status, answer.headers["content-type"]) == (418, "text/event-stream")
        assert await answer.read() == b"data: 1\n\ndata: [DONE]\n\n"
    sent, body = provider.asked[0]
    sent = {name.lower(): value for name, value in sent.items()}
    assert (sent["authorization"], sent["x-request-id"], body) == ("Bearer k", "r1", b'{"model": "m"}')
    assert "x-other" not in sent


async def test_unreachable_provider_is_a_bad_gateway():
    async with TestServer(Provider().app) as server:
        url = str(server.make_url("/api"))
    async with TestClient(TestServer(Relay(url).application())) as client:
        assert (await client.post("/v1/chat/completions", data=b"{}")).status == 502


async def test_relay_serves_while_its_block_runs():
    provider = Provider()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with TestServer(provider.app) as server, aiohttp.ClientSession() as session:
        with relaying(str(server.make_url("/api")), "127.0.0.1", port) as base_url:
            async with session.post(f"{base_url}/chat/completions", data=b"{}") as answer:
                assert answer.status == 418
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(f"{base_url}/chat/completions", data=b"{}")


def test_taken_address_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DemoError, match=f"127.0.0.1:{port}"), relaying("http://127.0.0.1", "127.0.0.1", port):
            pass
