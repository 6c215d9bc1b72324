"""The trial store's objects: pods pass `restricted`, and the password is in the Secret alone."""

from __future__ import annotations

import json

import pytest

from agent_operator.core.resources.recorded import recorded_template
from agent_operator.core.resources.store import (
    make_store_objects,
    make_store_secret,
    make_store_template,
)
from tests.support.agents import installation


def objects(**fields):
    made = installation(**fields)
    return {item["kind"]: item for item in make_store_objects("team-a", make_store_template(made), made)}


def pod(**fields):
    return objects(**fields)["Deployment"]["spec"]["template"]["spec"]


def test_the_pod_passes_restricted():
    spec = pod()
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["fsGroup"] == 65532
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["automountServiceAccountToken"] is False


def test_there_is_never_a_second_redis_on_the_same_data():
    spec = objects()["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_money_is_on_disk_before_it_is_acknowledged_and_never_evicted():
    (container,) = pod(store_max_memory="64mb")["containers"]
    lines = container["command"][-1].splitlines()
    assert {"appendonly yes", "appendfsync always", "maxmemory 64mb", "maxmemory-policy noeviction"} <= set(lines)


def test_the_password_is_in_the_secret_and_nowhere_else():
    secret = make_store_secret("team-a", "uid-d", "p4ss")
    assert secret["stringData"] == {
        "url": "redis://:p4ss@greylag-store.team-a.svc.cluster.local:6379/0",
        "password": "p4ss",
    }
    assert "p4ss" not in json.dumps(objects())


def test_the_secret_goes_with_the_deployment():
    (owner,) = make_store_secret("team-a", "uid-d", "p")["metadata"]["ownerReferences"]
    assert owner == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "greylag-store", "uid": "uid-d"}


@pytest.mark.parametrize(
    ("size", "kinds", "volume"),
    [
        ("", {"Service", "Deployment"}, {"emptyDir": {"sizeLimit": "2Gi"}}),
        (
            "1Gi",
            {"PersistentVolumeClaim", "Service", "Deployment"},
            {"persistentVolumeClaim": {"claimName": "greylag-store"}},
        ),
    ],
)
def test_data_lies_on_a_volume_if_the_chart_gives_one(size, kinds, volume):
    assert set(objects(store_size=size)) == kinds
    assert {"name": "data", **volume} in pod(store_size=size)["volumes"]


def test_a_claim_names_size_and_class():
    claim = objects(store_size="1Gi", store_class="fast")["PersistentVolumeClaim"]["spec"]
    assert (claim["resources"]["requests"]["storage"], claim["storageClassName"]) == ("1Gi", "fast")
    assert "storageClassName" not in objects(store_size="1Gi")["PersistentVolumeClaim"]["spec"]


def test_a_size_taken_away_leaves_the_claim_of_the_recorded_pod_alone():
    template = make_store_template(installation(store_size="1Gi"))
    made = make_store_objects("team-a", template, installation())
    assert {item["kind"] for item in made} == {"Service", "Deployment"}


def test_only_an_explicit_value_renders_the_pod_anew():
    template = make_store_template(installation(store_image="store:1"))
    deployment = make_store_objects("team-a", template, installation(store_image="store:2"))[-1]
    assert recorded_template(deployment, "1")["spec"]["containers"][0]["image"] == "store:1"
    assert recorded_template(deployment, "2") is None
    assert recorded_template(None, "1") is None
