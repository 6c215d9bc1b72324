"""The leading operator is killed at its N-th write; the rollout must not show it."""

from __future__ import annotations

import random

import pytest

from tests.support.killing import roll
from tests.support.lab import Team

STEPS = [
    {"setWeight": 20},
    {"pause": {"duration": "1s"}},
    {"setWeight": 50},
    {"pause": {"duration": "1s"}},
    {"setWeight": 80},
]
KILLS = 3


@pytest.mark.timeout(420)
def test_a_leader_killed_at_any_write_changes_no_routing_state_and_skips_no_step(team: Team) -> None:
    unharmed, _ = roll(team, "unharmed", STEPS, [])
    chance = random.Random(20261123)
    harmed, killed = roll(team, "harmed", STEPS, [chance.randint(1, 6) for _ in range(KILLS)])
    assert killed == KILLS
    assert harmed == unharmed
    assert [{role: weight for role, _, weight in state}.get("Canary") for state in unharmed] == [
        None, 0, 20, 50, 80, None
    ]  # fmt: skip
