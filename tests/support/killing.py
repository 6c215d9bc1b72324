"""A rollout during which the leading operator is killed at chosen writes."""

from __future__ import annotations

import time
from typing import Any

from tests.support.audit import OPERATOR, Audit, routing_states
from tests.support.lab import Team, kill, leader, processes_of

State = tuple[tuple[str, str, int], ...]


def _roles(states: list[State]) -> list[State]:
    """States with revisions numbered in order of appearance, so that two agents can be compared."""
    names: dict[str, str] = {}
    return [
        tuple(sorted((role, names.setdefault(name, f"r{len(names)}"), weight) for role, name, weight in state))
        for state in states
    ]


def roll(
    team: Team, name: str, steps: list[dict[str, Any]], kill_at: list[int], seconds: float = 180
) -> tuple[list[State], int]:
    """Roll out a second revision; kill the leader each time it has written so often. Returns states and kills."""
    rollout = {"conversationDrain": "0s", "canary": {"steps": steps}}
    audit = Audit(team.lab.devcluster.audit_log)
    team.apply(team.agent(name, rollout=rollout))
    team.wait_phase(name, "Healthy")
    team.apply(team.agent(name, model="good-2", rollout=rollout))
    entries, writes, killed = [], 0, 0
    end = time.monotonic() + seconds
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
                victims = processes_of(leader(team.lab), "agent_operator")
                for process in victims:
                    kill(process)
                if victims:
                    kill_at.pop(0)
                    writes, killed = 0, killed + 1
        status = team.status(name)
        if not kill_at and status.get("phase") == "Healthy" and status["observedGeneration"] == status["generation"]:
            return _roles(routing_states(entries, name)), killed
        time.sleep(0.02)
    raise AssertionError(f"not done: {team.status(name)}")
