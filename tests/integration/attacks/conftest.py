"""The foreign packages, for every test of this folder."""

from __future__ import annotations

import pytest

from tests.integration.attacks.foreign_packages import ForeignPackages, foreign_packages


@pytest.fixture(scope="session")
def packages() -> ForeignPackages:
    return foreign_packages()
