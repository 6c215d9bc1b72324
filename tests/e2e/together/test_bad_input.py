"""What only the operator can know becomes a condition and an Event with the way out, and the old revision serves on."""

from __future__ import annotations

from typing import Any

import pytest

from demo.api import object_path
from tests.support.lab import GROUP, Team

SLOW_STEPS = [{"setWeight": 30}, {"pause": {}}]


def _reasons(team: Team, agent: str) -> set[str]:
    return {event["reason"] for event in team.events(agent) if event["type"] == "Warning"}


def _config_map(team: Team, text: str) -> dict[str, Any]:
    metadata = {"name": "prompts", "namespace": team.namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"system": text}}


def test_missing_instructions_are_named_and_once_there_make_one_revision_a_change(team: Team) -> None:
    source = {"configMapKeyRef": {"name": "prompts", "key": "system"}}
    manifest = team.agent("support", agent={"instructionsFrom": source})
    team.apply(manifest)
    status = team.wait_phase("support", "Degraded")
    assert "ConfigMap prompts does not exist; create it" in status["message"]
    assert team.condition("support", "InvalidSpec")["reason"] == "InstructionsMissing"
    team.wait_for("an Event", lambda: "InstructionsMissing" in _reasons(team, "support"))
    team.apply(_config_map(team, "You answer."))
    first = team.wait_phase("support", "Healthy")["stableRevision"]
    team.apply(_config_map(team, "You answer briefly."))
    changed = team.agent("support", model="good-2", agent={"instructionsFrom": source})
    team.apply(changed)
    team.wait_for("the new revision", lambda: team.status("support").get("stableRevision") != first)
    team.wait_phase("support", "Healthy")
    assert team.route("support")["epoch"] == 1, "a ConfigMap and a CR of one sync make one revision"


def test_a_missing_secret_is_named_and_the_pod_gets_ready_once_it_is_there(team: Team) -> None:
    manifest = team.agent("support")
    manifest["spec"]["model"]["apiKeySecretRef"] = {"name": "openai", "key": "token"}
    team.apply(manifest)
    message = team.wait_for("a condition", lambda: team.condition("support", "PodsNotReady").get("message"))
    assert "is missing" in message
    assert "Secret openai (key token)" in message
    team.wait_for("an Event", lambda: "NotReady" in _reasons(team, "support"))
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "openai", "namespace": team.namespace},
        "stringData": {"token": "sk-not-a-real-key"},
    }
    team.apply(secret)
    team.wait_phase("support", "Healthy", 150)
    kinds = ("agentdeployments,agentroutes,configmaps,events,deployments,pods", "-o", "yaml")
    everything = team.lab.kubectl("-n", team.namespace, "get", *kinds)
    logs = team.lab.kubectl("-n", team.namespace, "logs", "-l", "app.kubernetes.io/managed-by=greylag", "--tail=-1")
    operator = team.lab.kubectl(
        "-n", "greylag-system", "logs", "-l", "app.kubernetes.io/component=operator", "--tail=-1"
    )
    for place in (everything, logs, operator):
        assert place
        assert "sk-not-a-real-key" not in place


def test_an_image_that_cannot_be_pulled_takes_the_canary_back_and_the_old_revision_serves(team: Team) -> None:
    team.apply(team.agent("support"))
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    team.apply(team.agent("support", runtime={"image": "localhost/no-such-image:1"}))
    status = team.wait_phase("support", "Degraded")
    assert status["stableRevision"] == stable
    assert status["lastRollback"]["reason"] == "ImagePullFailed"
    assert "localhost/no-such-image:1" in status["lastRollback"]["message"]
    assert team.condition("support", "Available")["status"] == "True"
    assert team.condition("support", "Stalled")["status"] == "True"
    assert "RolledBack" in _reasons(team, "support")


def test_a_canary_that_crashes_is_taken_back(team: Team) -> None:
    team.apply(team.agent("support"))
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    image = team.lab.images["modelserver"]
    bad = {"image": image, "env": [{"name": "PYTHONHOME", "value": "/nowhere"}]}
    team.apply(team.agent("support", runtime=bad))
    status = team.wait_phase("support", "Degraded", 150)
    assert status["lastRollback"]["reason"] == "CrashLoop"
    assert status["stableRevision"] == stable


def test_a_service_of_that_name_that_is_not_ours_is_never_adopted(team: Team) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "support", "namespace": team.namespace},
        "spec": {"selector": {"app": "mine"}, "ports": [{"port": 80}]},
    }
    team.apply(service, team.agent("support"))
    conflict = team.wait_for("a condition", lambda: team.condition("support", "NameConflict"))
    assert "Service support exists and does not belong to this agent" in conflict["message"]
    team.wait_for("an Event", lambda: "NameTaken" in _reasons(team, "support"))
    assert (team.find(object_path(service)) or {})["spec"]["selector"] == {"app": "mine"}
    team.lab.api.delete(object_path(service))
    team.wait_phase("support", "Healthy")


def _edits(team: Team, stable: str) -> dict[str, tuple[dict[str, Any], Any]]:
    """Path of a child: an edit by hand, and how to see that it was put back."""
    core = f"/api/v1/namespaces/{team.namespace}"
    return {
        f"/apis/apps/v1/namespaces/{team.namespace}/deployments/{stable}": (
            {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 5}}}},
            lambda found: found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 3600,
        ),
        f"{core}/services/support": (
            {"spec": {"selector": {"app.kubernetes.io/component": "other"}}},
            lambda found: found["spec"]["selector"]["app.kubernetes.io/component"] == "gateway",
        ),
        f"/apis/policy/v1/namespaces/{team.namespace}/poddisruptionbudgets/{stable}": (
            {"spec": {"maxUnavailable": 2}},
            lambda found: found["spec"]["maxUnavailable"] == 1,
        ),
        f"{GROUP}/namespaces/{team.namespace}/agentroutes/support": (
            {"spec": {"suspended": True}},
            lambda found: found["spec"]["suspended"] is False,
        ),
    }


@pytest.mark.timeout(300)
def test_a_child_edited_by_hand_is_put_back_and_a_deleted_one_is_made_again(team: Team) -> None:
    team.apply(team.agent("support"))
    stable = team.wait_phase("support", "Healthy")["stableRevision"]
    for path, (edit, restored) in _edits(team, stable).items():
        team.lab.api.patch(path, edit)
        team.wait_for(f"{path} put back", lambda path=path, restored=restored: restored(team.find(path)))
    children = [*_edits(team, stable), f"/api/v1/namespaces/{team.namespace}/configmaps/{stable}"]
    for path in children:
        uid = (team.find(path) or {})["metadata"]["uid"]
        team.lab.api.delete(path)
        team.wait_for(
            f"{path} made again",
            lambda path=path, uid=uid: (team.find(path) or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid,
        )
    status = team.wait_phase("support", "Healthy")
    assert status["stableRevision"] == stable


@pytest.mark.timeout(300)
def test_an_agent_deleted_in_mid_rollout_leaves_nothing_and_the_gateway_goes_with_the_last_one(team: Team) -> None:
    rollout = {"canary": {"steps": SLOW_STEPS}}
    team.apply(team.agent("support", rollout=rollout))
    team.wait_phase("support", "Healthy")
    team.apply(team.agent("support", model="good-2", rollout=rollout))
    team.wait_weight("support", 30)
    team.lab.api.delete(f"{GROUP}/namespaces/{team.namespace}/agentdeployments/support")
    collections = (
        f"{GROUP}/namespaces/{team.namespace}/agentroutes",
        f"/apis/apps/v1/namespaces/{team.namespace}/deployments",
        f"/api/v1/namespaces/{team.namespace}/services",
        f"/api/v1/namespaces/{team.namespace}/configmaps",
        f"/apis/policy/v1/namespaces/{team.namespace}/poddisruptionbudgets",
        f"/apis/rbac.authorization.k8s.io/v1/namespaces/{team.namespace}/rolebindings",
        f"/api/v1/namespaces/{team.namespace}/serviceaccounts",
        f"/api/v1/namespaces/{team.namespace}/pods",
    )

    def left() -> list[str]:
        ours = "app.kubernetes.io/managed-by=greylag"
        found = [team.lab.api.get(path, labelSelector=ours)["items"] for path in collections]
        return [str(o["metadata"]["name"]) for objects in found for o in objects]

    team.wait_for("nothing of ours in the namespace", lambda: not left(), 90)
