"""How changes come in force in a real Envoy, and what a bad one leaves alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

import agent_gateway.control.convergence
from agent_gateway.sidecar import build_gateway
from agent_gateway.watching.endpoints import Endpoint

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Lab

from tests.integration.gateway.conftest import AGENT, eventually, free_port, free_ports


def stamps(folder: Path, below: str = "") -> dict[str, int]:
    """Modification times of the configuration files."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in (folder / below).rglob("*.json")}


@asynccontextmanager
async def constant_load(lab: Lab) -> AsyncIterator[None]:
    """Eight callers meanwhile; none of their requests may fail."""
    failures: list[str] = []
    stop = asyncio.Event()
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while not stop.is_set():
            try:
                answer = await lab.run()
                answered += 1
                if answer["status"] != 200:
                    failures.append(str(answer))
            except aiohttp.ClientError as error:
                failures.append(repr(error))

    callers = [asyncio.create_task(caller()) for _ in range(8)]
    yield
    stop.set()
    await asyncio.gather(*callers)
    assert failures == []
    assert answered > 100


async def test_no_request_fails_in_fifty_changes_of_weight_under_load(lab: Lab) -> None:
    async with constant_load(lab):
        for change in range(50):
            await lab.apply_weights(v1=100 - change * 2, v2=change * 2)


async def test_no_request_fails_while_pods_come_and_go_under_load(lab: Lab) -> None:
    first, second = lab.upstreams["v1"].port, lab.upstreams["v2"].port
    async with constant_load(lab):
        for ports in ((first, second), (second,), (first, second), (first,)) * 6:
            lab.put_endpoints(f"{AGENT}-v1", *ports)
            wanted = {Endpoint("127.0.0.1", port) for port in ports}

            async def in_force(expected: set[Endpoint] = wanted) -> bool:
                return (await lab.admin.endpoints([f"{AGENT}/v1"]))[f"{AGENT}/v1"] == expected

            await eventually(in_force, "the pods are in force")


async def test_a_serial_with_the_same_routing_is_acknowledged_without_a_file(lab: Lab) -> None:
    before = stamps(lab.settings.config_dir)
    await lab.apply(lab.route({"v1": 100}, lease={"counter": 12}))
    assert stamps(lab.settings.config_dir) == before


async def test_a_change_of_weight_moves_the_routes_only(lab: Lab) -> None:
    await lab.apply_weights(v1=100, v2=0)
    before = stamps(lab.settings.config_dir)
    await lab.apply_weights(v1=40, v2=60)
    after = stamps(lab.settings.config_dir)
    assert {name for name in after if after[name] != before[name]} == {"rds.json"}


async def test_a_hundred_agents_take_no_more_file_watches_than_one(lab: Lab) -> None:
    assert lab.envoy.process is not None
    folder = Path(f"/proc/{lab.envoy.process.pid}/fd")

    def watches() -> int:
        return sum("inotify" in str(link.readlink()) for link in folder.iterdir())

    before = watches()
    for number, port in enumerate(free_ports(100)):
        lab.ports[f"agent-{number}"] = port
        lab.gateway.store.put_route(lab.route({"v1": 50, "v2": 50}, f"agent-{number}"))

    def in_force() -> bool:
        return all((a := lab.applied(f"agent-{n}")) is not None and a.serial > 0 for n in range(100))

    await eventually(in_force, "all agents are in force", 60)
    assert watches() == before <= 5


async def test_a_rejected_configuration_keeps_the_old_one_and_says_so(lab: Lab, monkeypatch: Any) -> None:
    render = agent_gateway.control.convergence.render_agent

    def broken(*args: Any, **options: Any) -> Any:
        config = render(*args, **options)
        if config.agent == AGENT:
            config.host["routes"][-1]["route"]["cluster"] = "ghost"
        return config

    with monkeypatch.context() as patched:
        patched.setattr(agent_gateway.control.convergence, "render_agent", broken)
        lab.gateway.store.put_route(lab.route({"v1": 100}))
        await lab.apply(lab.route({"v1": 100}, "other"))
        await eventually(lambda: (a := lab.applied()) is not None and "rejected" in a.error, "the rejection shows")
        applied = lab.applied()
        assert applied is not None
        assert applied.serial == 1
        assert await lab.share(20) == {"v1": 20}
        await lab.envoy.kill()
        await lab.envoy.start()
        await eventually(lab.admin.live, "Envoy comes back")
        await eventually(lambda: answers(lab), "the last good routes are on disk")
    await lab.apply_weights(v1=0, v2=100)
    assert await lab.share(20) == {"v2": 20}
    applied = lab.applied()
    assert applied is not None
    assert applied.error == ""


async def answers(lab: Lab) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        return (await lab.run())["status"] == 200
    return False


async def test_a_port_in_use_is_one_agents_error_and_heals(lab: Lab) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        lab.ports["other"] = taken.getsockname()[1]
        lab.gateway.store.put_route(lab.route({"v1": 100}, "other"))
        await eventually(lambda: (a := lab.applied("other")) is not None and a.error != "", "the error shows")
        refused = lab.applied("other")
        assert refused is not None
        assert refused.serial == 0
        await lab.apply_weights(v1=50, v2=50)
    await eventually(lambda: (a := lab.applied("other")) is not None and a.serial > 0, "it is tried again", 30)
    healed = lab.applied("other")
    assert healed is not None
    assert healed.error == ""


async def test_a_route_that_cannot_be_read_keeps_the_last_good_one(lab: Lab) -> None:
    lab.gateway.store.put_route(lab.route({"v1": 40, "v2": 50}))
    await eventually(lambda: (a := lab.applied()) is not None and "sum to 90" in a.error, "the error shows")
    assert await lab.share(20) == {"v1": 20}


async def test_a_deleted_agent_leaves_nothing_behind(lab: Lab) -> None:
    lab.gateway.store.drop_route(AGENT)
    await eventually(lambda: lab.applied() is None, "it is gone from /applied")
    assert (await lab.admin.listeners()).active == frozenset()
    assert await lab.admin.clusters() == frozenset()


async def test_pods_come_and_go(lab: Lab) -> None:
    lab.put_endpoints(f"{AGENT}-v1", lab.upstreams["v2"].port)

    async def moved() -> bool:
        return await lab.share(20) == {"v2": 20}

    await eventually(moved, "requests go to the new pod")


async def test_the_last_endpoints_stay_when_all_turn_not_ready(lab: Lab) -> None:
    lab.put_endpoints(f"{AGENT}-v1", lab.upstreams["v1"].port, ready=False)
    await lab.apply(lab.route({"v1": 100}, epoch=8))
    assert await lab.share(20) == {"v1": 20}


async def test_a_new_sidecar_keeps_the_files_until_it_has_listed(lab: Lab) -> None:
    await lab.apply_weights(v1=0, v2=100)
    await lab.stop_gateway()
    before = stamps(lab.settings.config_dir)
    lab.gateway = build_gateway(lab.settings, lab.admin)
    lab.start_gateway()
    lab.gateway.store.mark_routes_listed()
    await asyncio.sleep(0.5)
    assert stamps(lab.settings.config_dir) == before
    assert not lab.gateway.convergence.latched
    item = lab.route({"v1": 0, "v2": 100})
    for name in ("v1", "v2"):
        lab.put_endpoints(f"{AGENT}-{name}", lab.upstreams[name].port)
    lab.gateway.store.put_route(item)
    lab.gateway.store.mark_slices_listed()
    await lab.apply(item)
    assert stamps(lab.settings.config_dir) == before
    assert await lab.share(20) == {"v2": 20}


@pytest.mark.parametrize("listed", [False, True])
async def test_readiness_waits_for_the_first_full_configuration(lab: Lab, control: str, listed: bool) -> None:
    async with lab.client.get(f"{control}/ready") as response:
        assert response.status == 200
    await lab.stop_gateway()
    lab.gateway = build_gateway(lab.settings, lab.admin)
    lab.start_gateway()
    if listed:
        lab.mark_listed()
        await eventually(lambda: lab.gateway.convergence.latched, "the latch")
    else:
        await asyncio.sleep(0.3)
        assert not lab.gateway.convergence.latched


async def test_a_new_port_is_a_new_listener(lab: Lab) -> None:
    old = lab.ports[AGENT]
    lab.ports[AGENT] = free_port()
    await lab.apply_weights(v1=100)
    assert (await lab.admin.listeners()).active == {f"{AGENT}:{lab.ports[AGENT]}"}
    assert old != lab.ports[AGENT]
    assert await lab.share(10) == {"v1": 10}


async def test_the_wait_for_acknowledgements_ends_with_a_change(lab: Lab, control: str) -> None:
    async with lab.client.get(f"{control}/applied") as response:
        first = await response.json()
    waiting = asyncio.create_task(
        lab.client.get(f"{control}/applied", params={"since": first["version"], "wait": "10"})
    )
    await lab.apply_weights(v1=30, v2=70)
    async with await asyncio.wait_for(waiting, 5) as response:
        second = await response.json()
    assert second["version"] > first["version"]
    assert second["boot"] == first["boot"]
    assert second["routes"][AGENT]["serial"] == lab.serial
    async with lab.client.get(f"{control}/applied", params={"since": "x"}) as response:
        assert response.status == 400


async def test_a_new_sidecar_remembers_the_last_endpoints_by_their_files(lab: Lab) -> None:
    await lab.stop_gateway()
    lab.gateway = build_gateway(lab.settings, lab.admin)
    lab.put_endpoints(f"{AGENT}-v1", lab.upstreams["v1"].port, ready=False)
    lab.start_gateway()
    lab.mark_listed()
    await lab.apply(lab.route({"v1": 100}, epoch=8))
    assert await lab.share(10) == {"v1": 10}


async def test_what_a_restarted_envoy_cannot_take_over_shows(lab: Lab) -> None:
    await lab.envoy.kill()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", lab.ports[AGENT]))
        taken.listen()
        await lab.envoy.start()
        await eventually(lambda: (a := lab.applied()) is not None and "in use" in a.error, "the error shows")
    await eventually(lambda: (a := lab.applied()) is not None and a.error == "", "it heals")
    assert await lab.share(10) == {"v1": 10}
