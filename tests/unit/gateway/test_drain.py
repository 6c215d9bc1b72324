"""How long Envoy's container waits at its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_gateway.drain import drain


@dataclass
class FakeEnvoy:
    """Has `activity[n]` requests at the n-th look, the last value for ever after."""

    activity: list[int]
    marker: Path
    began: bool = False
    looks: int = 0
    dead: bool = False

    def begin(self) -> None:
        assert self.marker.exists(), "readiness fails before anything else"
        self.began = True
        if self.dead:
            raise ConnectionRefusedError

    def active(self) -> int:
        self.looks += 1
        return self.activity[min(self.looks, len(self.activity)) - 1]


@dataclass
class Time:
    now: float = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("activity", "drained", "seconds"),
    [([0], True, 6.0), ([3] * 20 + [0], True, 11.0), ([1, 0] * 10 + [0, 0], True, 10.5), ([1], False, 100.0)],
)
def test_it_waits_for_quiet_but_neither_too_short_nor_too_long(
    tmp_path: Path, activity: list[int], drained: bool, seconds: float
) -> None:
    envoy, time = FakeEnvoy(activity, tmp_path / "draining"), Time()
    assert drain(envoy, tmp_path / "draining", 6, 100, time.clock, time.sleep) is drained
    assert envoy.began
    assert time.now == seconds


def test_an_envoy_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    envoy, time = FakeEnvoy([5], tmp_path / "draining", dead=True), Time()
    assert drain(envoy, tmp_path / "draining", 6, 100, time.clock, time.sleep)
    assert time.now == 0
