"""Gateway pods end in order, and Envoy dies without warning, under load."""

from __future__ import annotations

import time

import pytest

from demo.traffic.records import Fault
from tests.support.lab import Team, kill, processes_of
from tests.support.persistent import persistent_clients

REFUSED_SECONDS = 3.0


def _ready(team: Team) -> list[str]:
    pods = team.gateway_pods()
    return [
        p["metadata"]["name"]
        for p in pods
        if not p["metadata"].get("deletionTimestamp")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))
    ]


@pytest.mark.timeout(300)
def test_a_deleted_gateway_pod_fails_no_request_and_a_killed_envoy_only_those_in_flight(team: Team) -> None:
    team.apply(team.agent("support", replicas=2))
    team.wait_phase("support", "Healthy")
    team.wait_for("two ready gateways", lambda: len(_ready(team)) == 2)
    with team.clients("support") as clients, persistent_clients(team.url("support")) as persistent:
        team.wait_for("traffic", lambda: clients.journal.count > 100)
        victim, survivor = _ready(team)
        team.lab.api.delete(f"/api/v1/namespaces/{team.namespace}/pods/{victim}")
        team.wait_for("the end of the pod", lambda: victim not in [p["metadata"]["name"] for p in team.gateway_pods()])
        team.wait_for("two ready gateways again", lambda: len(_ready(team)) == 2)
        after_deletion = clients.journal.count
        team.wait_for("more traffic", lambda: clients.journal.count > after_deletion + 50)
        assert clients.failed() == []
        running = processes_of(survivor, "envoy", "bootstrap")
        assert running, "Envoy's process was not found"
        killed_at = time.time()
        for process in running:
            kill(process)
        team.wait_for("time to fail", lambda: time.time() > killed_at + 2 * REFUSED_SECONDS)
    failed = clients.failed()
    refused = [record for record in failed if record.fault is Fault.CONNECT]
    cut = [record for record in failed if record.fault is not Fault.CONNECT]
    assert all(record.start <= killed_at + REFUSED_SECONDS for record in refused), refused
    assert all(record.start <= killed_at + REFUSED_SECONDS for record in cut), cut
    assert persistent.given_up == []
    assert persistent.answered > 100
