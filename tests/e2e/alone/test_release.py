"""Three releases under traffic: the first gets healthy, a good one is promoted, a bad one goes back by itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from demo.model_server.faults import fails
from demo.report import Release, Story, WeightChange, make_report
from demo.traffic.script import Load
from tests.support.lab import Team

BAD_PERCENT = 60
BUSY = Load(clients=12, conversations=4, think_min=0.5, think_max=1.3)
STEPS = [{"setWeight": 20}, {"analyze": {}}, {"setWeight": 50}, {"analyze": {}}]


def _release(team: Team, model: str, fallback: str) -> dict[str, Any]:
    analysis = {"metrics": [{"name": "errorRate", "maxIncrease": "0.05"}], "minSamples": 30}
    rollout = {"conversationDrain": "2m", "canary": {"steps": STEPS, "analysis": analysis}}
    return team.agent("support", replicas=2, model=model, fallback=fallback, rollout=rollout)


@pytest.mark.timeout(420)
def test_a_good_release_is_promoted_and_a_bad_one_taken_back_and_no_request_is_lost(team: Team) -> None:
    team.apply(_release(team, "good-1", "good-2"))
    first = team.wait_phase("support", "Healthy")["stableRevision"]
    with team.clients("support", BUSY) as clients:
        team.wait_for("traffic", lambda: clients.journal.count > 100)
        team.apply(_release(team, "good-2", "good-1"))
        team.wait_for("the promotion", lambda: team.status("support")["stableRevision"] != first, 150)
        second = team.wait_phase("support", "Healthy")["stableRevision"]
        team.apply(_release(team, "bad-1", "bad-2"))
        status = team.wait_phase("support", "Degraded", 150)
        count = clients.journal.count
        team.wait_for("traffic after the rollback", lambda: clients.journal.count > count + 100)
    third = status["rejectedRevision"]
    assert status["stableRevision"] == second
    assert status["lastRollback"]["reason"] == "AnalysisFailed"
    verdict = datetime.fromisoformat(status["lastRollback"]["time"]).timestamp()

    def must_fail(revision: str, request_id: str) -> bool:
        return revision == third and all(fails(model, request_id, BAD_PERCENT) for model in ("bad-1", "bad-2"))

    releases = (Release(second, "promoted", 0.0), Release(third, "rolledBack", 0.0))
    story = Story(releases, (WeightChange(verdict, {second: 100}),), third, verdict)
    report = make_report(clients.records(), story, must_fail)
    assert report["failedByRollout"] == 0, report["faults"]
    assert report["unexplained"] == 0
    assert report["conversationsSplit"] == 0
    assert report["failedByModel"] >= 1
    assert report["secondsToZero"] <= 1.0
    assert set(report["requestsByRevision"]) == {first, second, third}
