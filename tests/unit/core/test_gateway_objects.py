"""The gateway's objects: where its pods run, and that what nobody asked for stays as it was."""

from __future__ import annotations

import copy

import pytest

from agent_operator.core.resources.gateway import make_gateway_objects, make_gateway_template
from agent_operator.core.resources.store import make_store_template
from tests.support.agents import installation

ZONES = {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}
PLACEMENT = {
    "nodeSelector": {"pool": "edge"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "imagePullSecrets": [{"name": "registry"}],
    "priorityClassName": "infrastructure",
}


def gateway_template(pod=None):
    return make_gateway_template("team-a", installation(gateway_pod=pod or {}))


def store_template(pod=None):
    return make_store_template(installation(store_pod=pod or {}))


@pytest.mark.parametrize("make", [gateway_template, store_template])
def test_pods_are_placed_as_the_chart_says(make):
    placed = make(PLACEMENT)["spec"]
    assert {name: placed[name] for name in PLACEMENT} == PLACEMENT
    assert {name: value for name, value in placed.items() if name not in PLACEMENT} == make()["spec"]


@pytest.mark.parametrize("make", [gateway_template, store_template])
def test_a_spread_over_zones_is_over_the_pods_of_the_template(make):
    given = [ZONES]
    before = copy.deepcopy(given)
    template = make({"topologySpreadConstraints": given})
    labels = template["metadata"]["labels"]
    expected = [{**ZONES, "labelSelector": {"matchLabels": labels}}]
    assert template["spec"]["topologySpreadConstraints"] == expected
    assert given == before


def test_a_spread_may_name_its_pods():
    own = {**ZONES, "labelSelector": {"matchLabels": {"tier": "edge"}}}
    assert gateway_template({"topologySpreadConstraints": [own]})["spec"]["topologySpreadConstraints"] == [own]


def test_without_a_placement_gateways_spread_over_nodes_as_ever():
    spec = gateway_template()["spec"]
    (spread,) = spec["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert not PLACEMENT.keys() & spec.keys()


def test_however_many_gateways_there_are_one_may_be_away():
    made = installation()
    objects = {item["kind"]: item for item in make_gateway_objects("team-a", gateway_template(), made, None)}
    assert "replicas" not in objects["Deployment"]["spec"]
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
