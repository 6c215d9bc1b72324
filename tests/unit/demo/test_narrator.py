"""What the narrator says, and which weights it notes."""

from __future__ import annotations

import pytest

from demo.console import Console
from demo.narrator import Narrator, promoted, taken_back, unix_time

STEPS = [{"setWeight": 20}, {"analyze": {}}]


class Listing:
    """An API whose watch ends at once."""

    def __init__(self, agents, events):
        self._items = {"agentdeployments": agents, "events": events}

    def get(self, path, **_query):
        return {"items": self._items[path.rpartition("/")[2]], "metadata": {"resourceVersion": "1"}}

    def watch(self, *_arguments, **_query):
        return iter(())


def agent(version, *traffic):
    status = {"traffic": [{"revision": r, "weight": w, "verified": v} for r, w, v in traffic]}
    metadata = {"uid": "u", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"rollout": {"canary": {"steps": STEPS}}}, "status": status}


def event(version, reason, message):
    return {"metadata": {"uid": f"e{version}", "resourceVersion": str(version)}, "reason": reason, "message": message}


def told(capsys, agents, events=()):
    narrator = Narrator(Listing(agents, events), Console(), "demo", "support")
    for manifest in agents:
        narrator._see(manifest)
    for happening in events:
        narrator._tell(happening)
    return narrator, [line.split("] ", 1)[1] for line in capsys.readouterr().out.splitlines()]


def test_weight_is_noted_once_every_gateway_has_confirmed_it(capsys):
    unconfirmed = agent(2, ("old", 80, True), ("new", 20, False))
    confirmed = agent(3, ("old", 80, True), ("new", 20, True))
    before, _ = told(capsys, [agent(1, ("old", 100, True)), unconfirmed])
    assert [change.weights for change in before.changes] == [{"old": 100}]
    narrator, lines = told(capsys, [agent(1, ("old", 100, True)), unconfirmed, confirmed, agent(4, *[])])
    assert [change.weights for change in narrator.changes] == [{"old": 100}, {"old": 80, "new": 20}]
    assert lines[-1] == "WEIGHT    in force on every gateway: old 80 %, new 20 %"


def test_revision_without_weight_is_no_change(capsys):
    narrator, _ = told(capsys, [agent(1, ("new", 100, True), ("old", 0, True)), agent(2, ("new", 100, True))])
    assert len(narrator.changes) == 1


@pytest.mark.parametrize(
    ("reason", "message", "begin"),
    [
        ("RolloutStepCompleted", "step 1/2: every ready gateway serves weight 20 %", "STEP"),
        ("RolloutStepCompleted", "step 2/2: the canary is not worse", "VERDICT   RolloutStepCompleted: Pass"),
        ("RevisionCreated", "support-1 is the first revision", "REVISION"),
        ("SomethingNew", "that the demo does not know", "EVENT"),
    ],
)
def test_event_becomes_a_line_of_its_kind(capsys, reason, message, begin):
    _, lines = told(capsys, [agent(1)], [event(1, reason, message)])
    assert len(lines) == 1
    assert lines[0].startswith(begin)


def test_rollback_is_told_with_its_verdict(capsys):
    _, lines = told(capsys, [agent(1)], [event(1, "RolledBack", "support-3 is taken back")])
    assert lines == ["VERDICT   Fail", "ROLLBACK  RolledBack: support-3 is taken back"]


def test_watch_that_begins_anew_repeats_nothing(capsys):
    narrator = Narrator(Listing([agent(1, ("old", 100, True))], []), Console(), "demo", "support")
    seen = set()
    for _ in range(2):
        narrator._list_and_watch("agentdeployments", {}, narrator._see, seen)
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("status", "revision"),
    [
        ({"observedGeneration": 2, "phase": "Healthy", "stableRevision": "new"}, "new"),
        ({"observedGeneration": 1, "phase": "Healthy", "stableRevision": "old"}, None),
        ({"observedGeneration": 2, "phase": "Progressing", "stableRevision": "old"}, None),
        ({}, None),
    ],
)
def test_promotion_counts_for_its_own_generation_only(status, revision):
    assert promoted(status, 2) == revision


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ({"observedGeneration": 3, "rejectedRevision": "bad", "lastRollback": {"revision": "bad"}}, True),
        ({"observedGeneration": 3, "lastRollback": {"revision": "earlier"}}, False),
        ({"observedGeneration": 2, "rejectedRevision": "bad", "lastRollback": {"revision": "bad"}}, False),
    ],
)
def test_rollback_counts_for_its_own_generation_only(status, found):
    assert (taken_back(status, 3) is not None) is found


def test_time_of_the_verdict_keeps_its_fraction():
    assert unix_time("2026-01-01T00:00:00.250000Z") - unix_time("2026-01-01T00:00:00Z") == 0.25
