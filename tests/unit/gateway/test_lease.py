"""When a canary loses its share for want of a bump."""

from __future__ import annotations

import pytest

from agent_gateway.watching.lease import LeaseClock
from agent_gateway.watching.routes import Route
from tests.unit.gateway.builders import make_route, revision


def canary(counter: int = 0, weight: int = 20, uid: str = "u1") -> Route:
    return make_route(
        revision("v1", 100 - weight), revision("v2", weight, "Canary"), lease={"counter": counter}, uid=uid
    )


@pytest.mark.parametrize(
    ("events", "now", "expired"),
    [
        ([(0, canary())], 59.9, False),
        ([(0, canary())], 60, True),
        ([(0, canary(1)), (50, canary(1))], 60, True),
        ([(0, canary(1)), (50, canary(2))], 109.9, False),
        ([(0, canary(1)), (50, canary(2))], 110, True),
        ([(0, canary(1)), (70, canary(2))], 71, False),
        ([(0, canary(2)), (50, canary(1))], 61, False),
        ([(0, canary(1)), (50, canary(1, uid="u2"))], 61, False),
        ([(0, canary(1)), (50, canary(1, weight=50))], 61, True),
        ([(0, canary(weight=0))], 1000, False),
        ([(0, canary(weight=100))], 1000, False),
        ([(0, canary(weight=0)), (500, canary(weight=5))], 501, False),
        ([(0, canary(weight=0)), (500, canary(weight=5))], 560, True),
    ],
)
def test_the_lease_table(events: list[tuple[float, Route]], now: float, expired: bool) -> None:
    clock = LeaseClock(60)
    for moment, route in events:
        clock.observe(route, moment)
    assert clock.expired(now) == ({"support"} if expired else set())


def test_the_next_expiry_is_the_nearest_one_ahead() -> None:
    clock = LeaseClock(60)
    assert clock.next_expiry(0) is None
    clock.observe(canary(), 5)
    clock.observe(make_route(revision("v1", 50), revision("v2", 50, "Canary"), name="other"), 3)
    assert clock.next_expiry(10) == 63
    assert clock.next_expiry(63) == 65
    clock.forget("support")
    assert clock.next_expiry(63) is None
