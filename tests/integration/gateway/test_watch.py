"""The reflector against an API server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

import agent_gateway.watching.watch
from agent_gateway.metrics import Metrics
from agent_gateway.watching.lease import LeaseClock
from agent_gateway.watching.store import Store
from agent_gateway.watching.watch import Reflector, route_kind, slice_kind
from tests.integration.gateway.conftest import eventually, free_port


def route(name: str, serial: int = 1, padding: int = 0) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", "annotations": {"p": "x" * padding}},
        "spec": {"serial": serial, "port": 10001, "epoch": 1, "futureField": {"a": 1}, "rollout": {"unknown": True}},
    }


@dataclass
class FakeServer:
    """Lists `objects`; a watch plays the next of `scripts` and then ends, or stays open with none left."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    scripts: list[list[dict[str, Any] | int]] = field(default_factory=list)
    lists: int = 0
    watches: list[str] = field(default_factory=list)
    down: bool = False
    page: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.down:
            return web.Response(status=503, text="down")
        if request.query.get("watch"):
            return await self._watch(request)
        self.lists += 1
        items = list(self.objects.values())
        start = int(request.query.get("continue") or 0)
        end = start + (self.page or len(items) or 1)
        more = {"continue": str(end)} if end < len(items) else {}
        return web.json_response(
            {"metadata": {"resourceVersion": f"list-{self.lists}", **more}, "items": items[start:end]}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watches.append(request.query["resourceVersion"])
        script = self.scripts.pop(0) if self.scripts else None
        if script and isinstance(script[0], int):
            return web.Response(status=script[0], text="refused")
        response = web.StreamResponse()
        await response.prepare(request)
        for event in script or ():
            await response.write(json.dumps(event).encode() + b"\n")
        if script is None:
            await asyncio.sleep(60)
        return response


@asynccontextmanager
async def reflecting(server: FakeServer) -> AsyncIterator[Store]:
    """A reflector of AgentRoutes on the fake server."""
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    store = Store(LeaseClock(60), time.monotonic)
    configuration = Configuration()
    configuration.host = f"http://127.0.0.1:{port}"
    async with ApiClient(configuration) as client:
        task = asyncio.create_task(Reflector(client, "lab", route_kind(store), Metrics()).run())
        try:
            yield store
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await runner.cleanup()


def event(kind: str, item: dict[str, Any], version: str) -> dict[str, Any]:
    return {"type": kind, "object": {**item, "metadata": {**item["metadata"], "resourceVersion": version}}}


async def test_a_list_in_pages_is_taken_in_whole() -> None:
    server = FakeServer({name: route(name) for name in ("a", "b", "c")}, page=1)
    async with reflecting(server) as store:
        await eventually(lambda: set(store.routes) == {"a", "b", "c"}, "all pages")
        assert not store.synced
        store.mark_slices_listed()
        await eventually(lambda: store.synced, "the list is whole")


async def test_events_are_followed_and_a_new_watch_begins_where_the_last_ended() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "30"}}}
    script: list[Any] = [event("ADDED", route("b"), "10"), event("DELETED", route("a"), "11"), bookmark]
    server = FakeServer({"a": route("a")}, [script])
    async with reflecting(server) as store:
        await eventually(lambda: set(store.routes) == {"b"}, "the events")
        await eventually(lambda: server.watches == ["list-1", "30"], "the next watch")
        assert server.lists == 1


async def test_large_events_are_read() -> None:
    server = FakeServer({}, [[event("ADDED", route("a", padding=3_000_000), "10")]])
    async with reflecting(server) as store:
        await eventually(lambda: set(store.routes) == {"a"}, "the large event")


@pytest.mark.parametrize(
    "script",
    [
        [410],
        [{"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}],
        [{"type": "ERROR", "object": {"code": 500, "reason": "InternalError", "message": "no"}}],
        [{"nonsense": 1}],
    ],
)
async def test_a_deletion_during_the_gap_is_noticed_by_the_next_list(script: list[Any]) -> None:
    server = FakeServer({"a": route("a"), "b": route("b")}, [[event("MODIFIED", route("a", 2), "9")], script])
    async with reflecting(server) as store:
        await eventually(lambda: "a" in store.routes and store.routes["a"].spec.serial == 2, "the first watch")
        del server.objects["b"]
        server.objects["a"] = route("a", 3)
        await eventually(lambda: set(store.routes) == {"a"}, "the deletion is noticed")
        assert store.routes["a"].spec.serial == 3


async def test_an_api_server_that_is_down_is_asked_again_and_empties_nothing() -> None:
    server = FakeServer({"a": route("a")}, [[]])
    async with reflecting(server) as store:
        await eventually(lambda: "a" in store.routes, "the list")
        server.down = True
        seen = len(server.watches)
        await asyncio.sleep(0.6)
        assert set(store.routes) == {"a"}
        server.down = False
        server.scripts.append([event("ADDED", route("b"), "12")])
        await eventually(lambda: "b" in store.routes, "events flow again")
        assert len(server.watches) > seen


async def test_a_silent_watch_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_gateway.watching.watch, "_SILENCE_SECONDS", 0.2)
    server = FakeServer({"a": route("a")})
    async with reflecting(server):
        await eventually(lambda: len(server.watches) >= 3, "new watches")
        assert server.lists == 1


def test_slices_made_by_hand_are_not_asked_for() -> None:
    store = Store(LeaseClock(60), time.monotonic)
    assert "endpointslice-controller.k8s.io" in slice_kind(store).selector
