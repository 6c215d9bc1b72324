"""Deaths, drains and what is counted of them, with a real Envoy."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import aiohttp

from agent_gateway.drain import AdminEndpoint, drain

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Lab

from agent_api.observations import conversation_hash
from tests.integration.gateway.conftest import AGENT, eventually, free_port

CONVERSATION = "v1.3.0123456789abcdef"
SPLIT_ID = "v9.3.0123456789abcdefs"


async def observations(lab: Lab, control: str) -> dict[str, Any]:
    async with lab.client.get(f"{control}/observations") as response:
        document: dict[str, Any] = await response.json()
        return document


async def test_a_stream_survives_changes_of_weight_pods_and_revisions(lab: Lab) -> None:
    async with lab.client.get(lab.url("/events")) as response:
        assert (await response.content.readline()) == b"data: first\n"
        lab.put_endpoints(f"{AGENT}-v1", lab.upstreams["v2"].port)
        await lab.apply_weights(v1=0, v2=100)
        await lab.apply(lab.route({"v2": 100}))
        lab.upstreams["v1"].gate.set()
        assert b"data: last" in await response.content.read()


async def test_envoy_killed_comes_back_with_its_last_configuration(lab: Lab) -> None:
    await lab.apply_weights(v1=0, v2=100)
    await lab.envoy.kill()
    await lab.envoy.start()

    async def serves() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            return (await lab.run())["revision"] == "v2"
        return False

    await eventually(serves, "the last routing serves again", 5)
    await lab.apply_weights(v1=100)
    assert (await lab.run())["revision"] == "v1"


async def test_readiness_follows_envoy(lab: Lab, control: str) -> None:
    await lab.envoy.kill()
    async with lab.client.get(f"{control}/ready") as response:
        assert response.status == 503
    await lab.envoy.start()

    async def ready() -> bool:
        async with lab.client.get(f"{control}/ready") as response:
            return response.status == 200

    await eventually(ready, "ready again")


async def test_draining_ends_when_the_last_request_ends(lab: Lab, control: str) -> None:
    running = asyncio.create_task(lab.client.post(lab.url("/slow"), json={}))

    async def in_flight() -> bool:
        return (await observations(lab, control))["inFlight"] == 1

    await eventually(in_flight, "the request runs")
    marker = lab.settings.config_dir / "draining"
    envoy = AdminEndpoint(lab.settings.admin_port)
    draining = asyncio.create_task(asyncio.to_thread(drain, envoy, marker, 0.5, 60.0))
    await eventually(marker.exists, "the marker")
    async with lab.client.get(f"{control}/ready") as response:
        assert response.status == 503
    async with aiohttp.ClientSession() as fresh, fresh.post(lab.url(), json={}) as response:
        assert response.status == 200
        assert response.headers["connection"] == "close"
    await asyncio.sleep(1.5)
    assert not draining.done()
    lab.upstreams["v1"].gate.set()
    async with await running as response:
        assert response.status == 200
    assert await asyncio.wait_for(draining, 5)


async def test_a_refused_upstream_counts_and_a_marked_error_does_not(lab: Lab, control: str) -> None:
    lab.upstreams["v1"].status, lab.upstreams["v1"].outcome = 500, "error"
    assert (await lab.run())["status"] == 500
    lab.put_endpoints("gone", free_port())
    item = lab.route({"v1": 100})
    item["spec"]["revisions"].append({"name": "v9", "service": "gone", "weight": 0, "role": "Stable"})
    await lab.apply(item)
    assert (await lab.run(x_conversation_id=SPLIT_ID))["status"] == 503
    async with lab.client.get(lab.url("/health"), headers={"x-conversation-id": SPLIT_ID}) as response:
        assert response.status == 503

    async def counted() -> bool:
        return bool((await observations(lab, control))["slots"])

    await eventually(counted, "the failure is counted")
    (slot,) = (await observations(lab, control))["slots"]
    assert (slot["revision"], slot["epoch"]) == ("v9", 3)
    assert (slot["requests"], slot["failures"], slot["conversations"]) == (1, 1, 0)
    assert [unit["name"] for unit in slot["units"]] == [conversation_hash(SPLIT_ID)]


async def test_a_pod_that_dies_in_a_new_conversation_counts_for_the_routes_epoch(lab: Lab, control: str) -> None:
    running = asyncio.create_task(lab.client.post(lab.url("/slow"), json={}))

    async def in_flight() -> bool:
        return (await observations(lab, control))["inFlight"] == 1

    await eventually(in_flight, "the request runs")
    await lab.upstreams["v1"].stop()
    async with await running as response:
        assert response.status == 503

    async def counted() -> bool:
        return bool((await observations(lab, control))["slots"])

    await eventually(counted, "the failure is counted")
    (slot,) = (await observations(lab, control))["slots"]
    assert (slot["revision"], slot["epoch"], slot["conversations"]) == ("v1", 7, 1)


async def test_a_client_that_leaves_counts_nothing(lab: Lab, control: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await lab.client.post(lab.url("/slow"), json={})

    async def idle() -> bool:
        return (await observations(lab, control))["inFlight"] == 0

    await eventually(idle, "Envoy noticed")
    lab.put_endpoints(f"{AGENT}-v1", free_port())
    await lab.apply(lab.route({"v1": 100}, epoch=9))
    await lab.run()

    async def counted() -> bool:
        return bool((await observations(lab, control))["slots"])

    await eventually(counted, "a later failure is counted")
    (slot,) = (await observations(lab, control))["slots"]
    assert (slot["epoch"], slot["failures"]) == (9, 1)


async def test_a_retry_hides_one_dead_pod_of_two(lab: Lab) -> None:
    lab.put_endpoints(f"{AGENT}-v1", lab.upstreams["v1"].port, free_port())
    await lab.apply(lab.route({"v1": 100}, epoch=9))
    assert await lab.share(60) == {"v1": 60}


async def test_the_failure_file_stays_small_and_loses_nothing(lab: Lab, control: str) -> None:
    lab.gateway.failures._max_bytes = 2000
    log = lab.settings.config_dir / "failures.log"
    lab.put_endpoints(f"{AGENT}-v1", free_port())
    await lab.apply(lab.route({"v1": 100}, epoch=9))
    for batch in (1, 2, 3):
        answers = await asyncio.gather(*(lab.run() for _ in range(10)))
        assert {answer["status"] for answer in answers} == {503}

        async def counted(expected: int = batch * 10) -> bool:
            slots = (await observations(lab, control))["slots"]
            return sum(slot["failures"] for slot in slots) == expected

        await eventually(counted, "all failures are counted")
        await eventually(lambda: log.exists() and log.stat().st_size < 2000, "a new file begins")
