"""What pods and Deployments say of a revision's health."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agent_operator.core.facts import FailureReason, RevisionHealth
from agent_operator.core.pods import failure_of, health_of

NOW = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)


def pod(name="p1", *, deleted=False, **container):
    metadata = {"name": name}
    if deleted:
        metadata["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    status = {"image": "runtime:1", "restartCount": 0, "ready": False, **container}
    return {"metadata": metadata, "status": {"containerStatuses": [status]}}


def waiting(reason, message=""):
    return {"state": {"waiting": {"reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("ImagePullBackOff", FailureReason.IMAGE_PULL_FAILED),
        ("ErrImageNeverPull", FailureReason.IMAGE_PULL_FAILED),
        ("InvalidImageName", FailureReason.IMAGE_PULL_FAILED),
        ("CreateContainerConfigError", FailureReason.CONFIGURATION_INVALID),
        ("CreateContainerError", FailureReason.CONFIGURATION_INVALID),
        ("RunContainerError", FailureReason.CONFIGURATION_INVALID),
    ],
)
def test_pods_that_will_not_come_up_by_waiting(reason, failure):
    found = failure_of(pod(**waiting(reason, "no such thing")))
    assert found.reason is failure
    assert found.message.startswith("pod p1: ")
    assert reason in found.message
    assert found.message.endswith("no such thing")


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "ErrImagePull", "CrashLoopBackOff", ""])
def test_pods_that_may_come_up_by_waiting(reason):
    assert failure_of(pod(**waiting(reason))) is None


def test_an_image_that_cannot_be_pulled_is_named():
    found = failure_of(pod(**waiting("ImagePullBackOff", "denied")))
    assert found.message == "pod p1: image runtime:1 cannot be pulled (ImagePullBackOff): denied"


@pytest.mark.parametrize(("restarts", "ready", "fails"), [(2, False, False), (3, False, True), (3, True, False)])
def test_a_pod_fails_at_its_third_crash_unless_it_is_ready(restarts, ready, fails):
    assert (failure_of(pod(restartCount=restarts, ready=ready)) is not None) is fails


def test_a_crash_says_its_cause_and_where_to_look():
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    found = failure_of(pod(restartCount=4, lastState=ended))
    assert found.reason is FailureReason.CRASH_LOOP
    assert found.message == "pod p1 crashed 4 times (exit code 137 OOMKilled); see `kubectl logs --previous p1`"
    assert "(exit code ?)" in failure_of(pod(restartCount=4)).message


def test_a_kubelet_that_leaves_fields_out_is_understood():
    bare = {"metadata": {"name": "p"}, "status": {"containerStatuses": [{"restartCount": 3}]}}
    assert failure_of(bare).reason is FailureReason.CRASH_LOOP
    assert failure_of({"metadata": {"name": "p"}, "status": {"containerStatuses": [{}]}}) is None


def test_a_pod_on_its_way_out_fails_nothing():
    assert health_of(deployment(), [pod(deleted=True, restartCount=9)], now=NOW).failure is None


def running(**fields):
    return {"state": {"running": {"startedAt": "2030-01-01T11:00:00Z"}}, **fields}


def ran(minutes):
    finished = NOW - timedelta(seconds=10)
    times = {"startedAt": finished - timedelta(minutes=minutes), "finishedAt": finished}
    return {"terminated": {key: moment.isoformat().replace("+00:00", "Z") for key, moment in times.items()}}


def test_a_pod_that_was_restarted_over_months_and_is_unready_for_a_while_is_in_no_crash_loop():
    assert failure_of(pod(restartCount=3, **running(lastState=ran(minutes=1)))) is None


@pytest.mark.parametrize(("minutes", "fails"), [(0.1, True), (9.9, True), (10, False), (9000, False)])
def test_a_container_that_ran_long_before_it_ended_is_in_no_crash_loop(minutes, fails):
    crashed = pod(restartCount=30, lastState=ran(minutes), **waiting("CrashLoopBackOff"))
    assert (failure_of(crashed) is not None) is fails


def unready_for(seconds, name, **container):
    """A pod that says since when its containers are not ready."""
    found = pod(name, **container)
    since = (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    found["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
        {"type": "ContainersReady", "status": "False", "lastTransitionTime": since},
    ]
    return found


@pytest.mark.parametrize(("seconds", "fails"), [(0, False), (59, False), (60, True), (6000, True)])
def test_one_pod_of_many_fails_the_revision_only_when_it_lasts(seconds, fails):
    one = unready_for(seconds, "p2", **waiting("ImagePullBackOff", "429"))
    health = health_of(deployment(), [pod(ready=True), one], now=NOW)
    assert (health.failure is not None) is fails
    assert "cannot be pulled (ImagePullBackOff): 429" in health.not_ready_reason


def test_a_revision_fails_at_once_when_all_its_pods_do():
    pods = [unready_for(0, name, **waiting("ImagePullBackOff")) for name in ("a", "b")]
    leaving = pod("c", deleted=True, ready=True)
    assert health_of(deployment(), [*pods, leaving], now=NOW).failure.reason is FailureReason.IMAGE_PULL_FAILED


@pytest.mark.parametrize("moment", [None, "", "yesterday", 7, "2030-01-01T12:00:00"])
def test_a_failing_pod_that_does_not_say_since_when_counts_at_once(moment):
    one = unready_for(0, "p2", **waiting("InvalidImageName"))
    one["status"]["conditions"][1]["lastTransitionTime"] = moment
    assert health_of(deployment(), [pod(ready=True), one], now=NOW).failure is not None


def test_any_container_may_fail_the_pod():
    both = pod()
    both["status"]["containerStatuses"] += pod(**waiting("InvalidImageName"))["status"]["containerStatuses"]
    assert failure_of(both).reason is FailureReason.IMAGE_PULL_FAILED


def test_a_pod_without_status_may_come_up():
    assert failure_of({"metadata": {"name": "p"}}) is None


def test_long_messages_of_the_kubelet_are_cut():
    assert len(failure_of(pod(**waiting("RunContainerError", "x" * 9000))).message) < 500


# Deployments.


def deployment(replicas=2, generation=3, **status):
    known = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, **status}
    return {"metadata": {"generation": generation}, "spec": {"replicas": replicas}, "status": known}


def test_a_deployment_with_all_its_pods_ready_is_available():
    health = health_of(deployment(), (), now=NOW)
    assert health == RevisionHealth(exists=True, pods=2, ready=2, status_current=True)
    assert health.available(2)
    assert not health.available(3)


@pytest.mark.parametrize(
    ("manifest", "current"),
    [
        (deployment(generation=4), False),
        (deployment(generation=2), True),
        (deployment(updatedReplicas=1), False),
        (deployment(replicas=1, updatedReplicas=1), True),
        (deployment(updatedReplicas=3), True),
    ],
    ids=["status out of date", "status newer", "old pods", "scaled down", "more than wanted"],
)
def test_a_status_counts_once_it_is_of_this_deployment(manifest, current):
    assert health_of(manifest, (), now=NOW).status_current is current


def test_a_deployment_just_made_has_nothing():
    health = health_of({"metadata": {"generation": 1}, "spec": {}}, (), now=NOW)
    assert health == RevisionHealth(exists=True)
    assert not health.available(0)


def test_no_deployment_is_no_health():
    assert health_of(None, (), now=NOW) == RevisionHealth()
    assert not RevisionHealth().available(0)


def test_the_first_failing_pod_is_the_failure():
    pods = [pod("a"), pod("b", restartCount=3), pod("c", **waiting("InvalidImageName"))]
    assert health_of(deployment(), pods, now=NOW).failure.reason is FailureReason.CRASH_LOOP


def test_what_a_pod_says_goes_before_what_the_deployment_says():
    refused = [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]
    assert health_of(deployment(conditions=refused), (), "Secret openai is missing", now=NOW).not_ready_reason == (
        "Secret openai is missing"
    )
    assert health_of(deployment(conditions=refused), (), now=NOW).not_ready_reason == "exceeded quota"


@pytest.mark.parametrize(
    "condition",
    [
        {"type": "ReplicaFailure", "status": "False", "message": "was"},
        {"type": "Progressing", "status": "True", "message": "going on"},
    ],
)
def test_other_conditions_block_nothing(condition):
    assert health_of(deployment(conditions=[condition]), (), now=NOW).not_ready_reason == ""
