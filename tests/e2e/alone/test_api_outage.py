"""The API server is away for 90 s in mid-canary: agents answer, new conversations go to stable, the rollout goes on."""

from __future__ import annotations

import time

import pytest

from demo.traffic.script import Load
from tests.support.lab import Team
from tests.support.lab import team as new_team

OUTAGE_SECONDS = 90
LEASE_SECONDS = 60
GOES_ON_WITHIN = 15
CLUSTER_FOLLOWS_SECONDS = 240
"""Each watch of Kubernetes' own controllers, kubelet, kube-proxy and CoreDNS comes back up to 60 s after the server."""

SLOW = Load(clients=4, conversations=3, think_min=0.4, think_max=1.0)


@pytest.mark.timeout(600)
def test_an_api_outage_of_90_s_stops_no_answer_and_the_canary_only_until_the_lease_is_back(team: Team) -> None:
    steps = [{"setWeight": 50}, {"pause": {}}]
    rollout = {"conversationDrain": "60s", "canary": {"steps": steps}}
    team.apply(team.agent("support", replicas=2, rollout=rollout))
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    team.apply(team.agent("support", replicas=2, model="good-2", rollout=rollout))
    canary = team.wait_weight("support", 50)["canaryRevision"]
    pods = team.runtime_pods("support")
    with team.clients("support", SLOW) as clients:
        team.wait_for("traffic on both", lambda: {stable, canary} <= {r.revision for r in clients.records()})
        cluster = team.lab.devcluster
        bumped = team.route("support")["lease"]["counter"]
        cluster.stop_api()
        began = time.time()
        try:
            while time.time() < began + OUTAGE_SECONDS:
                time.sleep(0.5)
        finally:
            cluster.start_api()
        back = time.time()
        team.wait_for("a bump of the lease", lambda: team.route("support")["lease"]["counter"] > bumped, 60)
        first = team.wait_for(
            "a new conversation with the canary",
            lambda: next(
                (r for r in clients.records() if r.turn == 1 and r.start > back and r.revision == canary), None
            ),
        )
    assert clients.failed() == []
    begun = [r for r in clients.records() if r.turn == 1]
    lapsed = [r for r in begun if began + LEASE_SECONDS + 5 < r.start < back]
    assert lapsed, "nobody began a conversation after the lease was over"
    assert {r.revision for r in lapsed} == {stable}
    assert first.start - back <= GOES_ON_WITHIN
    assert team.runtime_pods("support") == pods
    assert team.agentctl("promote", "support").returncode == 0
    assert team.wait_phase("support", "Healthy")["stableRevision"] == canary
    with new_team(team.lab) as fresh:
        # The tests after this one count on a cluster that follows at once.
        fresh.apply(fresh.agent("support"))
        fresh.wait_phase("support", "Healthy", CLUSTER_FOLLOWS_SECONDS)
        assert fresh.url("support")
