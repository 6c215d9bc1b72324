"""Fixtures of everything that runs on the laboratory: the installation, and a namespace on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.console import Console
from demo.environment import Environment
from demo.settings import read_cluster_choice
from tests.support import lab as laboratory


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Environment:
    """Brought up once, quick if it is there; parallel workers use what a run before them brought up."""
    if hasattr(request.config, "workerinput"):
        return Environment.attach(read_cluster_choice(), Console())
    return Environment.bring_up(read_cluster_choice(), Console())


@pytest.fixture
def team(lab: Environment) -> Iterator[laboratory.Team]:
    with laboratory.team(lab) as namespace:
        yield namespace
