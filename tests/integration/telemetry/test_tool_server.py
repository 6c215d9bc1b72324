"""The demo's tool server, as a process, by its description and by an MCP client that others wrote."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from mcp import Client

ROOT = Path(__file__).parents[3]
TRACE = f"00-{'ab' * 16}-{'cd' * 8}-01"


@pytest.fixture
def process():
    """The server and its URL; it ends with the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(port), "PYTHONWARNINGS": "error"}
    server = subprocess.Popen([sys.executable, "-m", "demo.tool_server"], cwd=ROOT, env=environment)
    yield server, f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait(10)


@pytest.fixture
async def tools(process, http):
    server, url = process
    async with asyncio.timeout(30):
        while not await alive(http, url):
            assert server.poll() is None
            await asyncio.sleep(0.05)
    return url


async def alive(http, url):
    try:
        async with http.get(f"{url}/health") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def get(http, url, **headers):
    async with http.get(url, headers=headers) as response:
        return response.status, await response.json()


async def test_api_is_described_and_does_what_it_describes(tools, http):
    _, description = await get(http, f"{tools}/openapi.json")
    operations = {operation["operationId"] for path in description["paths"].values() for operation in path.values()}
    assert operations == {"getWeather", "getOrder", "refundOrder", "waitSeconds", "fail"}
    assert await get(http, f"{tools}/weather?city=Oslo") == await get(http, f"{tools}/weather?city=Oslo")
    assert (await get(http, f"{tools}/orders/unknown"))[0] == 404
    assert (await get(http, f"{tools}/broken"))[0] == 500
    assert (await get(http, f"{tools}/weather"))[0] == 422


async def test_record_shows_what_ran_and_how_often(tools, http):
    for _ in range(2):
        async with http.post(f"{tools}/orders/7/refund", json={"reason": "late"}) as response:
            assert (await response.json())["state"] == "refunded"
    await get(http, f"{tools}/orders/7", traceparent=TRACE, authorization="Bearer x")
    _, stats = await get(http, f"{tools}/stats")
    assert stats["counts"] == {"refundOrder": 2, "getOrder": 1}
    assert stats["calls"][0]["arguments"] == {"order_id": "7", "reason": "late"}
    assert stats["calls"][2] == {
        "tool": "getOrder",
        "arguments": {"order_id": "7"},
        "traceparent": TRACE,
        "authorized": True,
    }


async def test_mcp_client_lists_and_calls_tools(tools, http):
    async with Client(f"{tools}/mcp") as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        found = await client.call_tool("search", {"query": "warranty"}, meta={"traceparent": TRACE})
        broken = await client.call_tool("broken", {})
        large = await client.call_tool("large", {"kilobytes": 64})
        wrong = await client.call_tool("large", {"kilobytes": -1})
    assert {"search", "write_file", "run_command", "query_database", "slow", "broken", "large"} <= set(listed)
    assert listed["search"].input_schema["required"] == ["query"]
    assert found.content[0].text == "Every device has a warranty of two years."
    assert (broken.is_error, wrong.is_error) == (True, True)
    assert len(large.content[0].text) == 64 * 1024
    _, stats = await get(http, f"{tools}/stats")
    assert stats["counts"] == {"search": 1, "broken": 1, "large": 1}
    assert stats["calls"][0]["traceparent"].startswith(f"00-{'ab' * 16}")
