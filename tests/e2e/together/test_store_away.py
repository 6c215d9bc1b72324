"""The store is away while pods start, and in the middle of a canary."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.asking import asking
from tests.support.cluster_store import PORT, ClusterStore, frozen, put_secret, reference, trial_store_url
from tests.support.lab import Team
from tests.support.outage import await_condition, canary_without_store, check, priced

DEADLINE = {"conversationDrain": "5s", "progressDeadline": "25s", "canary": {"steps": []}}
LONGER_THAN_THE_DEADLINE = 30
FROZEN_SECONDS = 30
"""A pod notices within 5 s, and is asked every 10 s: once in vain, if it has not noticed yet."""

RECOVERY_SECONDS = 10
NOBODY_LISTENS = 6380


def _waits(team: Team, seconds: float) -> dict[str, Any]:
    """The status after some seconds."""
    until = time.monotonic() + seconds
    team.wait_for(f"{seconds} s to be over", lambda: time.monotonic() > until)
    return team.status("support")


@pytest.mark.timeout(240)
def test_first_pods_wait_for_a_store_that_is_not_there_and_no_deadline_runs(team: Team) -> None:
    store = ClusterStore(team, replicas=0)
    put_secret(team, "store", {"url": store.url()})
    team.apply(team.agent("support", store=reference("store"), rollout=DEADLINE))
    told = await_condition(team, "support", "StoreUnavailable")
    assert told["reason"] == "NeverReached"
    assert "Secret store (key url)" in told["message"]
    status = _waits(team, LONGER_THAN_THE_DEADLINE)
    assert status["phase"] == "Progressing"
    assert "not available after" not in status["message"]
    pods = team.runtime_pods("support")
    store.scale(1)
    team.wait_phase("support", "Healthy")
    await_condition(team, "support", "StoreUnavailable", "False")
    assert team.runtime_pods("support") == pods


@pytest.mark.timeout(240)
def test_a_release_with_a_wrong_url_waits_while_the_old_pods_serve_and_goes_on_once_it_is_mended(team: Team) -> None:
    team.apply(priced(team.agent("support", rollout=DEADLINE)))
    first = team.wait_phase("support", "Healthy")["stableRevision"]
    url = trial_store_url(team)
    put_secret(team, "wrong", {"url": url.replace(f":{PORT}/", f":{NOBODY_LISTENS}/")})
    with asking(team.url("support")) as asked:
        team.apply(priced(team.agent("support", model="good-2", rollout=DEADLINE, store=reference("wrong"))))
        told = await_condition(team, "support", "StoreUnavailable")
        assert told["reason"] == "NeverReached"
        second = team.status("support")["canaryRevision"]
        for words in (second, "cannot be connected to", "Secret wrong (key url)", "no deadline runs"):
            assert words in told["message"]
        status = _waits(team, LONGER_THAN_THE_DEADLINE)
        assert (status["phase"], status["stableRevision"], status["canaryWeight"]) == ("Progressing", first, 0)
        assert {note.revision for note in asked.notes()} == {first}
        pods = team.runtime_pods("support")
        put_secret(team, "wrong", {"url": url})
        status = team.wait_phase("support", "Healthy")
        assert status["stableRevision"] == second
        assert team.runtime_pods("support").items() <= pods.items()
        team.wait_for("its answers", lambda: second in {note.revision for note in asked.notes()}, 10)
    await_condition(team, "support", "StoreUnavailable", "False")
    assert [note for note in asked.notes() if note.status != 200] == []


@pytest.mark.timeout(300)
def test_a_store_that_stands_still_in_a_canary_stops_money_alone_and_fails_no_rollout(team: Team) -> None:
    def standing_still() -> Any:
        (pod,) = team.pods("app.kubernetes.io/component=store")
        return frozen(pod, "redis-server")

    check(canary_without_store(team, standing_still, FROZEN_SECONDS, 60), RECOVERY_SECONDS)
