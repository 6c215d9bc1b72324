"""Reports: what serves, what is rolled out, why it stands still, what to type next."""

from __future__ import annotations

import re

import pytest

from agent_api.acknowledgement import AppliedRoute
from agent_api.observations import slot_start
from agent_api.v1alpha1.status import AgentDeploymentStatus
from agent_operator.core.facts import Command
from agent_operator.core.snapshot import Problem
from tests.support.agents import Cluster, minimal_spec
from tests.support.scene import observed, slot

HELD = {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}, {"setWeight": 50}]}}
TIMED = {"canary": {"steps": [{"setWeight": 10}, {"pause": {"duration": "5m"}}]}}
ANALYZED = {"canary": {"steps": [{"setWeight": 10}, {"analyze": {}}], "analysis": {"maxDuration": "10m"}}}
CONFLICT = Problem("NameConflict", "NameTaken", "Service support exists and does not belong to this agent: rename it")
INVALID = Problem("InvalidSpec", "InvalidSpec", "spec.model: wrong; the old revision goes on serving")


def running(**spec):
    return Cluster(spec=minimal_spec(**spec)).run()


def rolling(rollout, **facts):
    cluster = running(rollout=rollout)
    for name, value in facts.items():
        setattr(cluster, name, value)
    return cluster.model("m2").run()


def crash(cluster, revision):
    state = {"image": "runtime:1", "restartCount": 3, "ready": False}
    cluster.pods[revision] = [{"metadata": {"name": "pod-1"}, "status": {"containerStatuses": [state]}}]
    return cluster


def first_pods_awaited():
    return Cluster(pods_follow=False).run()


def first_listener_awaited():
    return Cluster(gateways_follow=False).run()


def first_crashes():
    cluster = first_pods_awaited()
    return crash(cluster, cluster.stable).run()


def ports_exhausted():
    return Cluster(free_port=None).run()


def instructions_settle():
    return Cluster(changing=True).run()


def paused_by_spec():
    cluster = rolling(TIMED)
    return cluster.edit(paused=True).run()


def paused_before_begin():
    return running(paused=True, rollout=HELD).model("m2").run()


def canary_pods_awaited():
    cluster = running(rollout=HELD)
    cluster.pods_follow = False
    return cluster.model("m2").run()


def gateways_awaited():
    return rolling(HELD, gateways_follow=False)


def inconclusive():
    return rolling(ANALYZED).passes(601).run()


def aborted():
    cluster = rolling(HELD)
    cluster.command = Command("abort", "1")
    return cluster.run()


def rolled_back():
    cluster = rolling(HELD)
    return crash(cluster, cluster.canary).run()


def undone():
    cluster = rolling({"canary": {"steps": []}})
    cluster.command = Command("undo", "1")
    return cluster.run()


def stable_lost():
    cluster = running()
    cluster.pods_follow = False
    cluster.bring_up(cluster.stable, ready=0)
    return cluster.run()


def name_taken():
    cluster = running()
    cluster.problems = (CONFLICT,)
    return cluster.run()


def spec_invalid():
    cluster = rolling(HELD)
    cluster.problems = (INVALID,)
    return cluster.run()


def changing_later():
    cluster = running(rollout=HELD)
    cluster.changing = True
    return cluster.model("m2").run()


def suspended():
    return running(suspend=True)


SITUATIONS = [
    # situation, phase, true conditions, reason of Ready, words of the message
    (running, "Healthy", "Ready Available", "RolloutCompleted", ["serves"]),
    (first_pods_awaited, "Progressing", "Progressing Reconciling", "WaitingForPods", ["waiting for its first pods"]),
    (first_listener_awaited, "Progressing", "Available Progressing Reconciling", "WaitingForGateway", ["gateway"]),
    (
        first_crashes,
        "Degraded",
        "Stalled PodsFailing",
        "CrashLoop",
        ["crashed 3 times", "kubectl logs --previous pod-1"],
    ),
    (ports_exhausted, "Degraded", "Stalled PortsExhausted", "PortsExhausted", ["widen portRange"]),
    (instructions_settle, "Progressing", "Reconciling", "Waiting", ["settle"]),
    (
        lambda: rolling(HELD),
        "Paused",
        "Available Reconciling Paused",
        "CanaryPauseStep",
        ["step 2/3", "at 10 %", "kubectl agent promote", "abort"],
    ),
    (lambda: rolling(TIMED), "Paused", "Available Reconciling Paused", "CanaryPauseStep", ["step 2/2", "for 5m"]),
    (
        lambda: rolling(ANALYZED),
        "Progressing",
        "Available Progressing Reconciling",
        "RolloutInProgress",
        ["step 2/2", "first requests"],
    ),
    (
        inconclusive,
        "Paused",
        "Available Reconciling Paused",
        "AnalysisInconclusive",
        ["inconclusive", "agent promote`"],
    ),
    (paused_by_spec, "Paused", "Available Reconciling Paused", "SpecPaused", ["spec.paused is true; set it to false"]),
    (
        paused_before_begin,
        "Paused",
        "Available Reconciling Paused",
        "SpecPaused",
        ["not begun", "spec.paused is true; set it to false"],
    ),
    (
        canary_pods_awaited,
        "Progressing",
        "Available Progressing Reconciling",
        "RolloutInProgress",
        ["step 1/3", "at 0 %", "0 of 2 pods are ready"],
    ),
    (
        gateways_awaited,
        "Progressing",
        "Available Progressing Reconciling",
        "RolloutInProgress",
        ["every ready gateway"],
    ),
    (
        aborted,
        "Degraded",
        "Available Stalled",
        "Aborted",
        ["taken back (Aborted)", "`kubectl agent retry support -n team-a`"],
    ),
    (
        rolled_back,
        "Degraded",
        "Available Stalled",
        "RolledBack",
        ["crashed 3 times", "`kubectl agent retry support -n team-a`"],
    ),
    (undone, "Degraded", "Available Stalled", "Undone", ["Change the spec"]),
    (stable_lost, "Degraded", "Stalled", "WaitingForPods", ["0 of 2 pods are ready"]),
    (name_taken, "Degraded", "Available Stalled NameConflict", "NameTaken", ["rename it"]),
    (spec_invalid, "Degraded", "Available Paused Stalled InvalidSpec", "InvalidSpec", ["spec.model: wrong"]),
    (
        changing_later,
        "Progressing",
        "Available Progressing Reconciling",
        "WaitingForPods",
        ["waiting for the instructions to settle"],
    ),
    (suspended, "Healthy", "Ready Available", "RolloutCompleted", ["suspended: new runs are refused; "]),
]


@pytest.mark.parametrize(
    ("situation", "phase", "true", "reason", "words"),
    SITUATIONS,
    ids=[f"{phase}-{reason}-{number}" for number, (_, phase, _, reason, _) in enumerate(SITUATIONS)],
)
def test_a_report_says_what_happens_and_what_to_do(situation, phase, true, reason, words):
    cluster = situation()
    status = cluster.status
    assert status["phase"] == phase
    assert {entry["type"] for entry in status["conditions"] if entry["status"] == "True"} == set(true.split())
    assert cluster.condition("Ready")["reason"] == reason
    for word in words:
        assert word in status["message"]
    assert cluster.condition("Ready")["message"] == status["message"]
    AgentDeploymentStatus.model_validate(status)


@pytest.mark.parametrize("situation", [entry[0] for entry in SITUATIONS])
def test_a_report_at_rest_does_not_change_with_time(situation):
    cluster = situation()
    before = cluster.status
    cluster.passes(7).run()
    assert cluster.status == before


@pytest.mark.parametrize("situation", [entry[0] for entry in SITUATIONS])
def test_no_message_holds_a_time(situation):
    cluster = situation()
    texts = [cluster.status["message"], *(entry["message"] for entry in cluster.status["conditions"])]
    assert not [text for text in texts if re.search(r"\d\d:\d\d|20\d\d-", text)]


def test_conditions_keep_their_time_until_their_status_changes():
    cluster = running(rollout=HELD)
    began = cluster.condition("Ready")["lastTransitionTime"]
    assert began == "2030-01-01T12:00:00Z"
    cluster.passes(100).run()
    assert cluster.condition("Ready")["lastTransitionTime"] == began
    cluster.passes(100).model("m2").run()
    assert cluster.condition("Ready")["lastTransitionTime"] == "2030-01-01T12:03:20Z"
    assert cluster.condition("Available")["lastTransitionTime"] == began
    assert {entry["observedGeneration"] for entry in cluster.status["conditions"]} == {2}


def test_ready_is_not_true_before_this_generation_is_promoted():
    cluster = changing_later()
    assert cluster.status["observedGeneration"] == 2
    assert cluster.condition("Ready")["status"] == "False"


def test_a_report_names_revisions_weights_and_the_step():
    cluster = rolling(HELD)
    status = cluster.status
    assert (status["stableRevision"], status["canaryRevision"]) == (cluster.stable, cluster.canary)
    assert (status["canaryWeight"], status["step"], status["currentStepIndex"]) == (10, "2/3", 1)
    assert status["stepsHash"] == cluster.spec_of_route.rollout.steps_hash
    assert status["traffic"] == [
        {"revision": cluster.stable, "weight": 90, "verified": True},
        {"revision": cluster.canary, "weight": 10, "verified": True},
    ]
    assert status["url"] == "http://support.team-a.svc.cluster.local"
    assert (status["replicas"], status["readyReplicas"], status["ready"]) == (4, 2, "2/2")
    assert "greylag.dev/agent=support" in status["selector"]
    assert status["observedGeneration"] == 2


def test_traffic_is_not_verified_while_a_gateway_is_behind():
    assert {entry["verified"] for entry in gateways_awaited().status["traffic"]} == {False}


def test_at_rest_nothing_of_a_rollout_is_reported():
    keys = {"canaryRevision", "canaryWeight", "step", "currentStepIndex", "analysis", "rejectedRevision"}
    assert not keys & set(running().status)


def test_what_went_wrong_last_time_stays_after_the_next_release():
    cluster = rolled_back()
    bad = cluster.status["rejectedRevision"]
    cluster.pods.clear()
    cluster.model("m3").run()
    assert "rejectedRevision" not in cluster.status
    assert cluster.status["lastRollback"]["revision"] == bad
    assert cluster.status["lastRollback"]["reason"] == "CrashLoop"


def test_the_answer_to_a_command_is_reported():
    answer = aborted().status["observedCommand"]
    assert (answer["id"], answer["verb"], answer["result"]) == ("1", "abort", "Done")


def test_a_gateway_that_refuses_a_route_is_a_condition():
    cluster = running()
    refused = AppliedRoute(uid="route-uid", serial=1, error="duplicate port")
    cluster.gateways_follow, cluster.applied = False, {"g1": refused, "gone": refused}
    cluster.run()
    assert cluster.condition("GatewayRejected")["message"] == "g1: duplicate port"


def test_what_keeps_serving_pods_from_being_ready_is_a_condition():
    cluster = stable_lost()
    cluster.deployments[cluster.stable]["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    ]
    cluster.run()
    condition = cluster.condition("PodsNotReady")
    assert (condition["status"], condition["reason"]) == ("True", "NotReady")
    assert condition["message"] == f"{cluster.stable}: exceeded quota"
    assert cluster.status["message"].endswith("(exceeded quota)")


def test_a_problem_is_named_once():
    cluster = running()
    cluster.problems = (CONFLICT, CONFLICT)
    cluster.run()
    assert [entry["type"] for entry in cluster.status["conditions"]].count("NameConflict") == 1


def test_the_analysis_is_reported_with_its_evidence():
    cluster = rolling(ANALYZED)
    start = slot_start(cluster.now.timestamp())
    slots = [
        slot(name, start + 5 * number, 50, failures)
        for number in range(4)
        for name, failures in ((cluster.stable, 1), (cluster.canary, 2))
    ]
    cluster.observations, cluster.complete = (observed(*slots, settled_until=start + 20),), True
    cluster.passes(20).run()
    analysis = cluster.status["analysis"]
    metric = analysis["metrics"][0]
    assert analysis["verdict"] == "InsufficientData"
    assert (metric["name"], metric["canary"], metric["stable"]) == ("errorRate", "4.0 %", "2.0 %")
    assert (metric["canaryRequests"], metric["stableRequests"]) == (200, 200)
    assert re.search(r"canary \+2\.0 points \[[-+]\d.*\]; evidence to fail \d+ %, to pass \d+ %", metric["message"])
    assert cluster.status["message"].endswith("analysis: errorRate: the evidence does not suffice yet")


def test_status_says_how_far_the_evidence_is_behind_and_why():
    cluster = rolling(ANALYZED)
    start = slot_start(cluster.now.timestamp())
    cluster.observations, cluster.complete = (observed(slot(cluster.stable, start, 5), settled_until=start),), True
    cluster.passes(95).run()
    assert "the evidence is 90 s behind, as a run that began then is still in flight" in cluster.status["message"]
    cluster.observations = (observed(slot(cluster.stable, start, 5), settled_until=start + 90),)
    cluster.run()
    assert "behindSeconds" not in cluster.status["analysis"]
    cluster.passes(61).run()
    assert cluster.status["analysis"]["behindSeconds"] == 60


def test_an_analysis_of_nothing_shows_dashes():
    metric = inconclusive().status["analysis"]["metrics"][0]
    assert (metric["canary"], metric["stable"], metric["canaryRequests"]) == ("-", "-", 0)


def test_very_long_problems_are_cut_to_what_the_status_holds():
    cluster = running()
    cluster.problems = (Problem("InvalidSpec", "InvalidSpec", "x" * 9000),)
    cluster.run()
    assert len(cluster.status["message"]) == 1024
    assert len(cluster.condition("InvalidSpec")["message"]) == 2048


def test_without_replicas_an_agent_is_available_and_ready():
    cluster = running(replicas=0)
    assert (cluster.status["phase"], cluster.status["ready"]) == ("Healthy", "0/0")


def test_a_canary_without_steps_has_no_position():
    cluster = running(rollout={"canary": {"steps": []}})
    cluster.pods_follow = False
    cluster.model("m2").run()
    assert "step" not in cluster.status
    assert cluster.status["message"] == f"{cluster.canary} at 0 %: {cluster.canary}: 0 of 2 pods are ready"


def verified(cluster):
    return [entry["verified"] for entry in cluster.status["traffic"]]


def test_a_new_leader_that_has_not_asked_the_gateways_yet_tells_of_shares_what_was_told():
    cluster = running()
    cluster.gateways_follow, cluster.applied, cluster.gateways_asked = False, {}, False
    before = cluster.status
    assert cluster.run().status == before
    assert verified(cluster) == [True]
    cluster.gateways_asked = True
    assert verified(cluster.run()) == [False]


def test_a_share_that_is_new_is_never_called_verified_before_gateways_were_asked():
    cluster = rolling(HELD)
    cluster.gateways_follow, cluster.applied, cluster.gateways_asked = False, {}, False
    cluster.command = Command("abort", "1")
    assert False in verified(cluster.run())
