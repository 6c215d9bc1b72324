"""The soak runs on the same laboratory as the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.console import Console
from demo.environment import Environment
from demo.settings import read_cluster_choice
from tests.support import lab as laboratory


@pytest.fixture(scope="session")
def lab() -> Environment:
    return Environment.bring_up(read_cluster_choice(), Console())


@pytest.fixture
def team(lab: Environment) -> Iterator[laboratory.Team]:
    with laboratory.team(lab) as namespace:
        yield namespace
