"""All agents of a namespace under one address, through a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Lab

from tests.integration.gateway.conftest import AGENT, TIMEOUT, Upstream, eventually, free_ports

PROBLEM = "application/problem+json"
CHAT = "/v1/chat/completions"
TOKEN = "0123456789abcdef"


async def call(lab: Lab, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """A POST of a JSON body, or of bytes, at the front door."""
    data = body if isinstance(body, bytes) else json.dumps(body if body is not None else {}).encode()
    named = {"content-type": "application/json", **{key.replace("_", "-"): v for key, v in headers.items()}}
    async with lab.client.post(URL(lab.door(path), encoded=True), data=io.BytesIO(data), headers=named) as response:
        return response.status, json.loads(await response.text())


async def read(lab: Lab, path: str) -> tuple[int, Any]:
    async with lab.client.get(URL(lab.door(path), encoded=True)) as response:
        return response.status, json.loads(await response.text())


async def listed(lab: Lab) -> dict[str, str]:
    """Health by agent."""
    _, document = await read(lab, "/agents")
    return {agent["name"]: agent["health"] for agent in document["agents"]}


@asynccontextmanager
async def many_agents(lab: Lab, count: int) -> AsyncIterator[list[str]]:
    """Agents that each have a pod of their own, which answers with its agent's name."""
    names = [f"agent-{number}" for number in range(count)]
    async with contextlib.AsyncExitStack() as stack:
        for name, port in zip(names, free_ports(count), strict=True):
            upstream = Upstream(name)
            await upstream.start()
            stack.push_async_callback(upstream.stop)
            lab.ports[name] = port
            lab.put_endpoints(f"{name}-v1", upstream.port)
            lab.gateway.store.put_route(lab.route({"v1": 100}, name, description=f"does {name}"))

        def in_force() -> bool:
            return all((a := lab.applied(name)) is not None and a.serial > 0 for name in names)

        await eventually(in_force, "all agents are in force")
        yield names


async def test_twenty_agents_are_reached_by_path_and_by_model(lab: Lab) -> None:
    async with many_agents(lab, 20) as names:
        for name in names:
            status, answer = await call(lab, f"/agents/{name}/agent/run?x=1", {"query": "q"})
            assert (status, answer["revision"], answer["path"]) == (200, name, "/agent/run")
            assert answer["body"] == '{"query": "q"}'
            status, answer = await call(lab, CHAT, {"model": name, "messages": []})
            assert (status, answer["revision"], answer["path"]) == (200, name, CHAT)
        _, document = await read(lab, "/agents")
        assert [agent["name"] for agent in document["agents"]] == sorted([*names, AGENT])
        assert document["agents"][0] == {
            "name": "agent-0",
            "description": "does agent-0",
            "health": "serving",
            "path": "/agents/agent-0",
        }
        assert await read(lab, "/agents/agent-0") == (200, document["agents"][0])
        _, models = await read(lab, "/v1/models")
        assert [model["id"] for model in models["data"]] == sorted([*names, AGENT])


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/agents/nobody", 404, "unknown-agent"),
        ("/agents/nobody/agent/run", 404, "unknown-agent"),
        ("/agents/front_door/agent/run", 404, "unknown-agent"),
        ("/agents/supportx/agent/run", 404, "unknown-agent"),
        ("/agents/Support/agent/run", 404, "unknown-agent"),
        ("/agents/support/metrics", 404, "not-found"),
        ("/agents/support/report", 404, "not-found"),
        ("/agents/support//observations", 404, "not-found"),
        ("/agents/support/%6detrics", 404, "not-found"),
        ("/agents/support/a/..%2fmetrics", 404, "not-found"),
        ("/agents/support/../../metrics", 404, "not-found"),
        ("/agent/run", 404, "not-found"),
        ("/", 404, "not-found"),
    ],
)
async def test_what_is_not_there_is_a_problem(lab: Lab, path: str, status: int, kind: str) -> None:
    async with lab.client.get(URL(lab.door(path), encoded=True)) as response:
        assert (response.status, response.content_type) == (status, PROBLEM)
        assert (await response.json(content_type=None))["type"] == f"urn:greylag:problem:{kind}"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"model": "nobody"}, 404, "unknown-agent"),
        ({"model": "support\r\nx-evil: 1"}, 404, "unknown-agent"),
        ({"model": 5}, 404, "unknown-agent"),
        ({"model": {"a": 1}}, 404, "unknown-agent"),
        ({"model": ""}, 400, "model-missing"),
        ({"model": None}, 400, "model-missing"),
        ({}, 400, "model-missing"),
        (b"[]", 400, "model-missing"),
        (b"{nope", 400, "model-missing"),
        (b"", 400, "model-missing"),
        (b"\xff\xfe", 400, "model-missing"),
        ({"model": "support", "messages": "x" * (2 << 20)}, 413, "body-too-large"),
    ],
)
async def test_a_chat_that_names_no_agent_is_refused(lab: Lab, body: Any, status: int, kind: str) -> None:
    got, problem = await call(lab, CHAT, body)
    assert (got, problem["type"]) == (status, f"urn:greylag:problem:{kind}")


async def test_a_body_of_a_mebibyte_passes(lab: Lab) -> None:
    body = {"model": AGENT, "messages": "x" * ((1 << 20) - 100)}
    assert (await call(lab, CHAT, body))[0] == 200
    assert (await call(lab, f"/agents/{AGENT}/agent/run", body))[0] == 200


async def test_a_client_cannot_name_the_agent_by_a_header(lab: Lab) -> None:
    status, _ = await call(lab, CHAT, {"model": "nobody"}, x_greylag_model=AGENT, x_greylag_agent=AGENT)
    assert status == 404
    status, _ = await call(lab, "/agent/run", x_greylag_agent=AGENT)
    assert status == 404


async def test_a_suspended_agent_answers_for_itself(lab: Lab) -> None:
    await lab.apply(lab.route({"v1": 100}, suspended=True))
    for path, body in ((f"/agents/{AGENT}/agent/run", {}), (CHAT, {"model": AGENT})):
        status, problem = await call(lab, path, body)
        assert (status, problem["type"]) == (503, "urn:greylag:problem:agent-suspended")
    assert (await read(lab, f"/agents/{AGENT}/health"))[0] == 200
    assert await listed(lab) == {AGENT: "suspended"}


async def test_the_list_tells_what_a_caller_can_expect(lab: Lab) -> None:
    await lab.apply(lab.route({}, "fresh"))
    await lab.apply(lab.route({"v1": 100}, "empty"))
    assert await listed(lab) == {AGENT: "serving", "fresh": "no-revision", "empty": "unavailable"}
    lab.put_endpoints("empty-v1", lab.upstreams["v1"].port)

    async def serves() -> bool:
        return (await listed(lab))["empty"] == "serving"

    await eventually(serves, "the pod shows")
    await lab.apply(lab.route({"v1": 100}, "empty", description='says "h\u00e9llo" to 100 % of {you}'))
    _, entry = await read(lab, "/agents/empty")
    assert entry["description"] == 'says "h\u00e9llo" to 100 % of {you}'
    status, problem = await call(lab, "/agents/fresh/agent/run")
    assert (status, problem["type"]) == (503, "urn:greylag:problem:no-revision")


@pytest.mark.parametrize(
    ("path", "body"), [(f"/agents/{AGENT}/events", "{}"), (CHAT, f'{{"model": "{AGENT}", "stream": true}}')]
)
async def test_a_stream_is_not_held_back(lab: Lab, path: str, body: str) -> None:
    sent = {"content-type": "application/json; charset=utf-8"}
    async with lab.client.post(lab.door(path), data=body, headers=sent) as response:
        assert await asyncio.wait_for(response.content.readline(), 5) == b"data: first\n"
        lab.upstreams["v1"].gate.set()
        assert b"data: last" in await response.content.read()


async def test_a_conversation_keeps_its_revision(lab: Lab) -> None:
    await lab.apply_weights(v1=100, v2=0)
    pin, run = f"v2.7.{TOKEN}", f"/agents/{AGENT}/agent/run"
    for _ in range(8):
        assert (await call(lab, run, x_conversation_id=pin))[1]["revision"] == "v2"
        assert (await call(lab, run, {"conversation_id": pin}))[1]["revision"] == "v2"
        assert (await call(lab, CHAT, {"model": AGENT}, x_conversation_id=pin))[1]["revision"] == "v2"
        assert (await call(lab, run))[1]["revision"] == "v1"


async def test_the_callers_identity_arrives_and_reserved_headers_do_not(lab: Lab) -> None:
    sent = {
        "x-request-id": "mine-1",
        "x-user-id": "u1",
        "authorization": "Bearer k",
        "x-conversation-id": "v1.1.abcdefgh",
    }
    reserved = {
        "x-greylag-epoch": "99",
        "x-greylag-outcome": "ok",
        "x-greylag-placed": "split",
        "x-greylag-subject": "root",
        "x-envoy-max-retries": "9",
    }
    url = lab.door(f"/agents/{AGENT}/agent/run")
    async with lab.client.post(url, json={}, headers=sent | reserved | {"x-forwarded-for": "192.0.2.7"}) as response:
        assert response.headers.getall("x-request-id") == ["mine-1"]
        assert response.headers.getall("x-greylag-outcome") == ["ok"]
        seen = (await response.json())["headers"]
    assert {name: seen.get(name) for name in sent} == sent
    assert seen["x-greylag-epoch"] == "7"
    assert [name for name in seen if name.startswith(("x-greylag-", "x-envoy-"))] == [
        "x-greylag-epoch",
        "x-greylag-placed",
    ]
    assert seen["x-greylag-placed"] == "pinned"
    client, *hops = seen["x-forwarded-for"].split(",")
    assert (client, len(hops)) == ("192.0.2.7", 2)
    assert seen["host"] == f"127.0.0.1:{lab.settings.front_door_port}"


async def test_agents_come_and_go_without_touching_the_connections_of_others(lab: Lab) -> None:
    created: list[object] = []
    trace = aiohttp.TraceConfig()

    async def note(*event: object) -> None:
        created.append(event)

    trace.on_connection_create_end.append(note)
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT, connector=connector, trace_configs=[trace]) as one,
        lab.client.get(lab.door(f"/agents/{AGENT}/events")) as stream,
    ):
        assert await stream.content.readline() == b"data: first\n"
        for round_ in range(3):
            async with many_agents(lab, 3) as names:
                await lab.apply_weights(v1=50 - round_, v2=50 + round_)
                for name in (*names, AGENT):
                    async with one.post(lab.door(f"/agents/{name}/agent/run"), json={}) as response:
                        assert response.status == 200
            for name in names:
                lab.gateway.store.drop_route(name)
            await eventually(lambda: all(lab.applied(f"agent-{n}") is None for n in range(3)), "they are gone")
        assert await listed(lab) == {AGENT: "serving"}
        assert (await call(lab, "/agents/agent-0/agent/run"))[0] == 404
        lab.upstreams["v1"].gate.set()
        lab.upstreams["v2"].gate.set()
        assert b"data: last" in await stream.content.read()
    assert len(created) == 1
    assert (await lab.admin.stats(r"^listener_manager\.listener_modified$")) == {
        "listener_manager.listener_modified": 0
    }


async def test_an_agent_that_goes_is_not_forwarded_to_before_its_listener_closes(lab: Lab) -> None:
    failures: list[Any] = []
    stop = asyncio.Event()

    async def caller() -> None:
        while not stop.is_set():
            status, answer = await call(lab, "/agents/agent-0/agent/run")
            if status not in (200, 404):
                failures.append(answer)

    callers = [asyncio.create_task(caller()) for _ in range(4)]
    for _ in range(5):
        async with many_agents(lab, 1):
            lab.gateway.store.drop_route("agent-0")
            await eventually(lambda: lab.applied("agent-0") is None, "it is gone")
    stop.set()
    await asyncio.gather(*callers)
    assert failures == []


async def test_an_agent_whose_listener_does_not_open_is_not_listed(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        lab.ports["other"] = taken.getsockname()[1]
        lab.gateway.store.put_route(lab.route({"v1": 100}, "other"))
        await eventually(lambda: (a := lab.applied("other")) is not None and a.error != "", "the error shows")
        assert await listed(lab) == {AGENT: "serving"}
        assert (await call(lab, "/agents/other/agent/run"))[0] == 404


async def test_a_failure_is_counted_once_and_a_running_request_too(lab: Lab, control: str) -> None:
    running = asyncio.create_task(lab.client.post(lab.door(f"/agents/{AGENT}/slow"), json={}))

    async def observed() -> dict[str, Any]:
        async with lab.client.get(f"{control}/observations") as response:
            document: dict[str, Any] = await response.json()
            return document

    async def in_flight() -> bool:
        return (await observed())["inFlight"] == 1

    await eventually(in_flight, "the request runs")
    await lab.upstreams["v1"].stop()
    async with await running as response:
        assert (response.status, response.content_type) == (503, PROBLEM)
    status, problem = await call(lab, CHAT, {"model": AGENT})
    assert (status, problem["type"]) == (503, "urn:greylag:problem:upstream-unavailable")

    async def counted() -> bool:
        return sum(slot["failures"] for slot in (await observed())["slots"]) >= 2

    await eventually(counted, "both are counted")
    await asyncio.sleep(1.5)
    assert sum(slot["failures"] for slot in (await observed())["slots"]) == 2
    assert {slot["revision"] for slot in (await observed())["slots"]} == {"v1"}


async def test_the_front_door_adds_no_attempts(lab: Lab) -> None:
    connections = 0

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        lab.put_endpoints(f"{AGENT}-v1", server.sockets[0].getsockname()[1])
        await lab.apply(lab.route({"v1": 100}, epoch=9))
        assert (await lab.run())["status"] == 503
        direct, connections = connections, 0
        assert (await call(lab, f"/agents/{AGENT}/agent/run"))[0] == 503
        assert connections == direct


async def test_the_front_door_serves_again_after_envoy_was_killed(lab: Lab) -> None:
    await lab.envoy.kill()
    await lab.envoy.start()

    async def serves() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            return (await call(lab, f"/agents/{AGENT}/agent/run"))[0] == 200
        return False

    await eventually(serves, "the last routing serves again", 5)
    assert await listed(lab) == {AGENT: "serving"}
