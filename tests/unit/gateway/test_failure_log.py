"""Following the failure file over its rotations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from agent_gateway.envoy.admin import AdminUnavailableError, EnvoyAdmin
from agent_gateway.failures.access_log import FailureCounts
from agent_gateway.failures.failure_log import FailureLog
from agent_gateway.metrics import Metrics


class FakeAdmin:
    """Envoy that opens a new file some time after it was asked to."""

    def __init__(self) -> None:
        self.asked = 0
        self.gone = False

    async def reopen_logs(self) -> None:
        self.asked += 1
        if self.gone:
            msg = "gone"
            raise AdminUnavailableError(msg)


def entry(number: int) -> str:
    fields = {
        "start": "2000.0",
        "cluster": "support/v1",
        "epoch": "1",
        "flags": "UF",
        "status": 503,
        "outcome": None,
        "method": "POST",
        "conversation": None,
        "user": f"u{number}",
    }
    return json.dumps(fields) + "\n"


class Lab:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.admin = FakeAdmin()
        self.counts = FailureCounts("gateway-0", lambda: 1990.0)
        self.log = FailureLog(path, self.counts, cast("EnvoyAdmin", self.admin), Metrics(), max_bytes=500)

    def write(self, *numbers: int, path: Path | None = None) -> None:
        with (path or self.path).open("a") as file:
            file.writelines(entry(number) for number in numbers)

    def counted(self) -> int:
        return sum(slot.failures for slot in self.counts.observations(0).slots)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path / "failures.log")
    yield lab
    lab.log.close()


async def test_a_file_that_comes_later_is_read(lab: Lab) -> None:
    await lab.log.poll()
    lab.write(1, 2)
    await lab.log.poll()
    assert lab.counted() == 2


async def test_a_line_written_in_two_parts_counts_once(lab: Lab) -> None:
    whole = entry(1)
    lab.path.write_text(whole[:40])
    await lab.log.poll()
    assert lab.counted() == 0
    with lab.path.open("a") as file:
        file.write(whole[40:])
    await lab.log.poll()
    assert lab.counted() == 1


async def test_nothing_is_lost_when_the_file_is_moved_away(lab: Lab) -> None:
    old = lab.path.with_name("failures.log.old")
    lab.write(1, 2, 3, 4)
    await lab.log.poll()
    assert old.exists()
    assert lab.admin.asked == 1
    lab.write(5, path=old)
    await lab.log.poll()
    lab.write(6, path=old)
    lab.write(7)
    await lab.log.poll()
    assert not old.exists()
    await lab.log.poll()
    assert lab.counted() == 7


async def test_an_envoy_that_does_not_answer_is_asked_again(lab: Lab) -> None:
    lab.admin.gone = True
    lab.write(1, 2, 3, 4)
    await lab.log.poll()
    await lab.log.poll()
    assert lab.admin.asked == 2
    assert lab.counted() == 4
