"""A canary without its store for a minute."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cluster_store import ClusterStore, frozen, put_secret, reference
from tests.support.figures import keep
from tests.support.lab import Team
from tests.support.outage import Outage, canary_without_store, check

AWAY_SECONDS = 60
RECOVERY_SECONDS = 15
SEEDING_SECONDS = 150
"""An empty store is told what was spent by the operator, and pods see that with the kubelet's next look."""


def _figures(outage: Outage) -> dict[str, Any]:
    kinds = Counter(note.kind or str(note.status) for note in outage.paid)
    return {"answers": dict(kinds), "recoveredAfter": round(outage.recovered_after, 1)}


@pytest.fixture
def store(team: Team) -> ClusterStore:
    made = ClusterStore(team)
    put_secret(team, "store", {"url": made.url()})
    return made


@pytest.mark.timeout(900)
def test_a_store_that_stands_still_for_a_minute_in_a_canary_costs_no_rollout(team: Team, store: ClusterStore) -> None:
    def standing_still() -> contextlib.AbstractContextManager[None]:
        (pod,) = team.pods(f"app.kubernetes.io/name={store.name}")
        return frozen(pod, "redis-server")

    outage = canary_without_store(team, standing_still, AWAY_SECONDS, 120, store=reference("store"))
    keep("store-standing-still", **_figures(outage))
    check(outage, RECOVERY_SECONDS)


@pytest.mark.timeout(900)
def test_a_store_that_comes_back_empty_after_a_minute_costs_no_rollout(team: Team, store: ClusterStore) -> None:
    @contextlib.contextmanager
    def gone() -> Iterator[None]:
        store.scale(0)
        try:
            yield
        finally:
            store.scale(1)

    outage = canary_without_store(team, gone, AWAY_SECONDS, 180, store=reference("store"))
    keep("store-gone", **_figures(outage))
    check(outage, SEEDING_SECONDS)
