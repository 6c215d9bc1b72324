"""Who gets which revision, through a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.gateway.conftest import eventually

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Lab

TOKEN = "0123456789abcdef"


async def test_new_conversations_are_split_near_the_weight(lab: Lab) -> None:
    await lab.apply_weights(v1=80, v2=20)
    found = await lab.share(1000)
    assert found["v1"] + found["v2"] == 1000
    assert 140 <= found["v2"] <= 260


@pytest.mark.parametrize("weight", [0, 100])
async def test_the_ends_of_the_split_are_exact(lab: Lab, weight: int) -> None:
    await lab.apply_weights(v1=100 - weight, v2=weight)
    assert await lab.share(100) == {"v2" if weight else "v1": 100}


@pytest.mark.parametrize(
    ("conversation", "revision"),
    [
        (f"v1.3.{TOKEN}", "v1"),
        (f"v0.2.{TOKEN}", "v0"),
        (f"v2.7.{TOKEN}", "v2"),
        (f"v2.6.{TOKEN}", "v1"),
        (f"v2.77.{TOKEN}", "v1"),
        (f"v22.7.{TOKEN}", "v1"),
        ("anything-else", "v1"),
    ],
)
async def test_a_conversation_goes_to_its_pin_or_to_stable(lab: Lab, conversation: str, revision: str) -> None:
    await lab.apply_weights(v0=0, v1=50, v2=50)
    for _ in range(8):
        assert (await lab.run(x_conversation_id=conversation))["revision"] == revision
        assert (await lab.run({"conversation_id": conversation}))["revision"] == revision


async def test_requests_about_a_task_stick_to_nothing(lab: Lab) -> None:
    await lab.apply(lab.route({"v1": 1, "v2": 99}, stickiness="User"))
    headers = {"x-conversation-id": f"v2.7.{TOKEN}", "x-user-id": "u1"}
    for path in ("/agent/tasks/7", "/agent/tasks/7/events", "/agent/tasks/7/cancel"):
        async with lab.client.post(lab.url(path), json={"conversation_id": "x"}, headers=headers) as response:
            assert (await response.json())["revision"] == "v1"


async def test_a_header_wins_over_the_body(lab: Lab) -> None:
    await lab.apply_weights(v1=100, v2=0)
    answer = await lab.run({"conversation_id": f"v1.1.{TOKEN}"}, x_conversation_id=f"v2.7.{TOKEN}")
    assert answer["revision"] == "v2"
    assert answer["headers"]["x-conversation-id"] == f"v2.7.{TOKEN}"


@pytest.mark.parametrize("source", ["header", "body"])
async def test_a_user_never_moves_back_while_the_weight_grows(lab: Lab, source: str) -> None:
    async def canary_users() -> set[int]:
        found = set()
        for user in range(150):
            body, headers = ({}, {"x_user_id": f"u{user}"}) if source == "header" else ({"user_id": f"u{user}"}, {})
            if (await lab.run(body, **headers))["revision"] == "v2":
                found.add(user)
        return found

    last: set[int] = set()
    for weight in (5, 20, 50, 100):
        await lab.apply(lab.route({"v1": 100 - weight, "v2": weight}, stickiness="User"))
        now = await canary_users()
        assert last <= now
        last = now
    assert len(last) == 150


async def test_another_epoch_picks_other_users(lab: Lab) -> None:
    async def canary_users(epoch: int) -> set[int]:
        await lab.apply(lab.route({"v1": 50, "v2": 50}, stickiness="User", epoch=epoch))
        return {u for u in range(100) if (await lab.run(x_user_id=f"u{u}"))["revision"] == "v2"}

    first, again, other = await canary_users(7), await canary_users(7), await canary_users(8)
    assert first == again
    assert 20 <= len(first ^ other) <= 80


async def test_callers_without_a_user_are_split_at_random(lab: Lab) -> None:
    await lab.apply(lab.route({"v1": 50, "v2": 50}, stickiness="User"))
    found = await lab.share(200)
    assert 60 <= found["v2"] <= 140


async def test_a_lapsed_lease_sends_new_conversations_to_stable_and_keeps_pins(lab: Lab) -> None:
    lab.gateway.store.lease.duration = 1.0
    await lab.apply(lab.route({"v1": 1, "v2": 99}, lease={"counter": 4}))
    await eventually(lambda: (a := lab.applied()) is not None and a.lease_expired, "the lease lapses")
    assert await lab.share(50) == {"v1": 50}
    assert (await lab.run(x_conversation_id=f"v2.7.{TOKEN}"))["revision"] == "v2"
    lab.gateway.store.lease.duration = 60.0
    await lab.apply(lab.route({"v1": 1, "v2": 99}, lease={"counter": 5}))
    assert (await lab.share(100))["v2"] > 80
    applied = lab.applied()
    assert applied is not None
    assert not applied.lease_expired
