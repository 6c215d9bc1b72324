"""The leading operator is killed twenty times, over every transition of a rollout."""

from __future__ import annotations

import json
import random
import time

import pytest

from demo.console import ROOT
from tests.support.killing import roll
from tests.support.lab import Team

KILLS = 20
STEPS = [
    step
    for weight in (5, 10, 20, 30, 40, 50, 60, 70, 80, 90)
    for step in ({"setWeight": weight}, {"pause": {"duration": "1s"}})
]


@pytest.mark.timeout(1800)
def test_twenty_kills_change_no_routing_state_and_skip_no_step(team: Team) -> None:
    began = time.monotonic()
    unharmed, _ = roll(team, "unharmed", STEPS, [])
    chance = random.Random(20)
    harmed, killed = roll(team, "harmed", STEPS, [chance.randint(1, 3) for _ in range(KILLS)], seconds=1500)
    results = ROOT / "build" / "soak" / "twenty-kills.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "kills": killed,
        "routingStates": len(unharmed),
        "equal": harmed == unharmed,
        "seconds": round(time.monotonic() - began, 1),
    }
    results.write_text(json.dumps(figures, indent=1) + "\n")
    assert killed == KILLS
    assert harmed == unharmed
