"""The leading operator is killed at its N-th write; the rollout must not show it."""

from __future__ import annotations

import random
import time

import pytest

from tests.support.audit import OPERATOR, Audit, routing_states
from tests.support.lab import Team, kill, leader, processes_of

STEPS = [
    {"setWeight": 20},
    {"pause": {"duration": "1s"}},
    {"setWeight": 50},
    {"pause": {"duration": "1s"}},
    {"setWeight": 80},
]
KILLS = 3


def _roles(states: list[tuple[tuple[str, str, int], ...]]) -> list[tuple[tuple[str, str, int], ...]]:
    """States with revisions numbered in order of appearance, so that two agents can be compared."""
    names: dict[str, str] = {}
    return [
        tuple(sorted((role, names.setdefault(name, f"r{len(names)}"), weight) for role, name, weight in state))
        for state in states
    ]


def _roll(team: Team, name: str, kill_at: list[int]) -> tuple[list[tuple[tuple[str, str, int], ...]], int]:
    """Roll out a second revision; kill the leader each time it has written so often. Returns states and kills."""
    rollout = {"conversationDrain": "0s", "canary": {"steps": STEPS}}
    audit = Audit(team.lab.devcluster.audit_log)
    team.apply(team.agent(name, rollout=rollout))
    team.wait_phase(name, "Healthy")
    team.apply(team.agent(name, model="good-2", rollout=rollout))
    entries, writes, killed = [], 0, 0
    end = time.monotonic() + 180
    first = True
    while time.monotonic() < end:
        for entry in audit.entries():
            entries.append(entry)
            mine = (
                entry["user"]["username"] == OPERATOR and entry.get("objectRef", {}).get("namespace") == team.namespace
            )
            began = any("Canary" in str(r) for r in entry.get("requestObject", {}).get("spec", {}).get("revisions", []))
            first = first and not began
            writes += mine and not first
            if mine and kill_at and writes >= kill_at[0]:
                kill_at.pop(0)
                writes = 0
                for process in processes_of(leader(team.lab), "agent_operator"):
                    kill(process)
                    killed += 1
        status = team.status(name)
        if not kill_at and status.get("phase") == "Healthy" and status["observedGeneration"] == status["generation"]:
            return _roles(routing_states(entries, name)), killed
        time.sleep(0.02)
    raise AssertionError(f"not done: {team.status(name)}")


@pytest.mark.timeout(420)
def test_a_leader_killed_at_any_write_changes_no_routing_state_and_skips_no_step(team: Team) -> None:
    unharmed, _ = _roll(team, "unharmed", [])
    chance = random.Random(20261123)
    harmed, killed = _roll(team, "harmed", [chance.randint(1, 6) for _ in range(KILLS)])
    assert killed == KILLS
    assert harmed == unharmed
    assert [{role: weight for role, _, weight in state}.get("Canary") for state in unharmed] == [
        None, 0, 20, 50, 80, None
    ]  # fmt: skip
