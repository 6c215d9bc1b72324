"""The devcluster with Greylag installed by its chart: brought up once, quick if it is there.

Tests in `alone/` disturb the whole cluster (leader, API server, upgrade) or measure it, and run one at a time; those in
`together/` keep to their namespace, and run side by side on the installation that the former leave.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.console import Console
from demo.environment import Environment
from demo.settings import read_cluster_choice
from tests.support import lab as laboratory


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Environment:
    if hasattr(request.config, "workerinput"):
        return Environment.attach(read_cluster_choice(), Console())
    return Environment.bring_up(read_cluster_choice(), Console())


@pytest.fixture
def team(lab: Environment) -> Iterator[laboratory.Team]:
    with laboratory.team(lab) as namespace:
        yield namespace
