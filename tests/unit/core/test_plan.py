"""Plans: what is written, in which order, and that a thing at rest is left alone."""

from __future__ import annotations

import copy
import json

import pytest

from agent_operator.core.facts import Command
from agent_operator.core.names import FIELD_MANAGER
from agent_operator.core.plan import Apply, Delete, Scale, WriteRoute, placement_problem, plan
from agent_operator.core.resources.workload import OVERLAY_ANNOTATION
from agent_operator.core.snapshot import Decision, StoredRoute
from tests.support.agents import NAME, NAMESPACE, UID, Cluster, describe, minimal_spec, record_of

NO_STEPS = {"canary": {"steps": []}, "conversationDrain": "0s"}
HELD = {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}


def running(**spec):
    return Cluster(spec=minimal_spec(**spec)).run()


def words(actions):
    return [describe(action) for action in actions]


def first_of(cluster, action):
    return words(cluster.log).index(action)


def overlay_of(cluster, revision):
    return json.loads(cluster.deployments[revision]["metadata"]["annotations"][OVERLAY_ANNOTATION])


# Order.


def test_a_new_agent_gets_its_record_then_its_route_then_its_pods_and_last_its_service():
    cluster = Cluster().run()
    name = cluster.target
    made = words(cluster.log)
    assert made.index(f"apply ConfigMap {name}") < made.index("route") < made.index(f"apply Deployment {name}")
    assert made.index(f"apply Deployment {name}") < made.index(f"apply Service {name}")
    assert made[-1] == f"apply Service {NAME}" or made.index(f"apply Service {NAME}") > made.index("route")
    assert set(cluster.budgets) == {name}


def test_without_a_route_to_write_nothing_is_planned():
    cluster = Cluster(free_port=None)
    assert plan(cluster.snapshot(), Decision(route=None)) == ()


def test_the_service_waits_until_every_gateway_has_the_listener():
    cluster = Cluster(gateways_follow=False).run()
    assert NAME not in cluster.services
    cluster.gateways_follow = True
    assert NAME in cluster.run().services


def test_the_service_is_kept_while_gateways_are_silent():
    cluster = running()
    cluster.gateways_follow, cluster.applied = False, {}
    cluster.services[NAME]["spec"]["selector"] = {"edited": "by hand"}
    assert "edited" not in cluster.run().services[NAME]["spec"]["selector"]


def test_the_service_points_at_the_port_of_the_route():
    service = running().services[NAME]
    assert service["spec"]["ports"][0]["targetPort"] == 10000
    assert service["metadata"]["ownerReferences"][0]["uid"] == UID


def test_a_release_is_recorded_before_it_is_routed_and_routed_before_it_has_pods():
    cluster = running(rollout=HELD)
    cluster.log.clear()
    cluster.model("m2").run()
    name = cluster.target
    made = words(cluster.log)
    assert made[0] == f"apply ConfigMap {name}"
    assert made.index("route") < made.index(f"apply Deployment {name}")


def test_at_rest_nothing_is_done():
    cluster = running()
    route = cluster.route
    assert cluster.reconcile() == ()
    assert cluster.route == route


def test_routes_are_written_only_when_they_change():
    cluster = running()
    snapshot = cluster.snapshot()
    assert not [a for a in plan(snapshot, Decision(route=snapshot.route.spec)) if isinstance(a, WriteRoute)]


def test_a_route_edited_or_deleted_by_hand_is_written_again():
    cluster = running()
    cluster.route = StoredRoute(cluster.route.uid, cluster.route.spec, intact=False)
    assert "route" in words(cluster.reconcile())


# Records.


def test_a_record_once_made_is_never_made_anew():
    cluster = running()
    record = copy.deepcopy(cluster.records)
    cluster.log.clear()
    cluster.passes(60).run()
    assert cluster.records == record
    assert not [action for action in words(cluster.log) if "ConfigMap" in action]


def test_pods_are_made_from_the_record_not_from_the_operator():
    cluster = running()
    name = cluster.stable
    stored = json.loads(cluster.records[name]["data"]["template.json"])
    stored["spec"]["containers"][0]["image"] = "runtime:of-then"
    cluster.records[name]["data"]["template.json"] = json.dumps(stored)
    cluster.run()
    assert cluster.deployments[name]["spec"]["template"]["spec"]["containers"][0]["image"] == "runtime:of-then"


def test_a_deployment_deleted_by_hand_is_made_again():
    cluster = running()
    name = cluster.stable
    del cluster.deployments[name]
    cluster.run()
    assert cluster.deployments[name]["spec"]["replicas"] == 2


def test_a_lost_record_of_another_revision_stops_only_its_own_pods():
    cluster = running(rollout=HELD).model("m2").run()
    old = cluster.stable
    del cluster.records[old], cluster.deployments[old]
    made = words(cluster.reconcile())
    assert f"apply Deployment {old}" not in made
    assert not [word for word in made if "ConfigMap" in word]
    assert [(problem.type, problem.reason) for problem in cluster.decision.problems] == [
        ("RecordLost", "RecordDeleted")
    ]
    assert old in cluster.decision.problems[0].message
    assert "apply a spec that makes a new revision" in cluster.decision.problems[0].message


def test_a_record_deleted_by_hand_is_made_again_as_it_was_last_seen():
    cluster = running(rollout=HELD)
    old, record = cluster.stable, copy.deepcopy(cluster.records[cluster.stable])
    record["data"]["template.json"] = record["data"]["template.json"].replace("runtime:1", "runtime:of-then")
    cluster.records[old] = copy.deepcopy(record)
    cluster.model("m2").run()
    cluster.remembered = {old: cluster.records.pop(old)}
    del cluster.deployments[old]
    cluster.run()
    assert cluster.records[old] == record
    assert cluster.deployments[old]["spec"]["template"]["spec"]["containers"][0]["image"] == "runtime:of-then"
    assert cluster.condition("RecordLost") is None


def test_the_lost_record_of_the_target_is_made_again():
    cluster = running()
    record = cluster.records.pop(cluster.stable)
    cluster.run()
    assert cluster.records[cluster.stable] == record
    assert cluster.decision.problems == ()


# Retiring.


def test_an_old_revision_keeps_its_pods_while_it_drains():
    cluster = running(rollout={"canary": {"steps": []}, "conversationDrain": "10m"})
    old = cluster.stable
    cluster.model("m2").run()
    assert cluster.deployments[old]["spec"]["replicas"] == 2
    cluster.passes(600).run()
    assert cluster.deployments[old]["spec"]["replicas"] == 0


def test_pods_go_away_only_after_every_gateway_has_let_them_go():
    cluster = running(rollout=HELD).model("m2").run()
    canary = cluster.canary
    cluster.gateways_follow = False
    cluster.command = Command("abort", "1")
    cluster.run()
    assert cluster.canary is None
    assert cluster.deployments[canary]["spec"]["replicas"] == 2
    cluster.gateways_follow = True
    cluster.run()
    assert cluster.deployments[canary]["spec"]["replicas"] == 0


def test_one_gateway_that_is_behind_is_enough_to_keep_pods():
    cluster = running(rollout=HELD).model("m2").run()
    canary, behind = cluster.canary, cluster.applied["g1"]
    cluster.gateways_follow = False
    cluster.command = Command("abort", "1")
    cluster.run()
    cluster.applied = {"g1": behind, "g2": behind.model_copy(update={"serial": cluster.route.spec.serial})}
    cluster.run()
    assert cluster.deployments[canary]["spec"]["replicas"] == 2


def test_revisions_beyond_the_history_are_forgotten_record_last():
    cluster = running(rollout={**NO_STEPS, "revisionHistoryLimit": 1})
    oldest = cluster.stable
    for model in ("m2", "m3"):
        cluster.model(model).run()
    made = words(cluster.log)
    order = [made.index(f"delete {kind} {oldest}") for kind in ("PodDisruptionBudget", "Service", "Deployment")]
    assert order == sorted(order)
    assert made.index(f"delete ConfigMap {oldest}") > max(order)
    assert made.index(f"scale {oldest} to 0") < min(order)
    assert set(cluster.records) == set(cluster.route.spec.rollout.history)


def test_a_revision_is_not_forgotten_while_it_has_pods():
    cluster = running(rollout={**NO_STEPS, "revisionHistoryLimit": 0})
    old = cluster.stable
    cluster.pods_follow = False
    cluster.model("m2").run()
    cluster.bring_up(cluster.canary)
    cluster.run()
    assert cluster.deployments[old]["spec"]["replicas"] == 0
    assert old in cluster.records
    cluster.bring_up(old)
    assert old not in cluster.run().records


def test_rejected_and_asked_for_revisions_are_kept():
    cluster = running(rollout={**HELD, "revisionHistoryLimit": 0}).model("m2").run()
    rejected = cluster.canary
    cluster.command = Command("abort", "1")
    cluster.run()
    assert rejected in cluster.records
    stable = cluster.stable
    assert set(cluster.records) == {stable, rejected}


def test_the_revision_that_undo_went_to_is_kept():
    cluster = running(rollout={**NO_STEPS, "revisionHistoryLimit": 3})
    first = cluster.stable
    cluster.model("m2").run()
    cluster.command = Command("undo", "1")
    cluster.run()
    assert cluster.stable == first
    cluster.edit(rollout={**NO_STEPS, "revisionHistoryLimit": 0}).run()
    assert first in cluster.records


def test_while_paused_the_canary_stays_where_it_is_whatever_the_spec_asks_for():
    cluster = running(rollout={**HELD, "revisionHistoryLimit": 0}).model("m2").run()
    canary = cluster.canary
    cluster.edit(paused=True).model("m3").run()
    assert cluster.canary == canary
    assert set(cluster.records) == {cluster.stable, canary}


def test_a_record_without_pods_that_nobody_needs_is_forgotten():
    cluster = running()
    other = record_of(Cluster(spec=minimal_spec()).model("stray").parsed())
    stray = copy.deepcopy(next(iter(cluster.records.values())))
    stray["metadata"]["name"] = other.name
    cluster.records[other.name] = stray
    assert other.name not in cluster.run().records


# Replicas.


def test_replicas_are_set_when_a_deployment_is_made_and_through_scale_afterwards():
    cluster = running()
    name = cluster.stable
    assert cluster.deployments[name]["spec"]["replicas"] == 2
    cluster.log.clear()
    cluster.edit(replicas=5).run()
    assert [word for word in words(cluster.log) if "scale" in word] == [f"scale {name} to 5"]
    assert cluster.deployments[name]["spec"]["replicas"] == 5


def applied_deployment(cluster, name):
    snapshot = cluster.snapshot()
    actions = plan(snapshot, Decision(route=snapshot.route.spec, acknowledged=True))
    return next(
        a.manifest
        for a in actions
        if isinstance(a, Apply) and a.manifest["kind"] == "Deployment" and a.manifest["metadata"]["name"] == name
    )


@pytest.mark.parametrize(
    ("owner", "repeated"),
    [
        ({"manager": FIELD_MANAGER, "operation": "Apply"}, True),
        ({"manager": FIELD_MANAGER, "operation": "Update"}, False),
        ({"manager": "kubectl", "operation": "Apply"}, False),
    ],
)
def test_an_apply_repeats_replicas_only_while_it_owns_them(owner, repeated):
    cluster = running()
    deployment = cluster.deployments[cluster.stable]
    deployment["metadata"]["managedFields"] = [{**owner, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
    assert ("replicas" in applied_deployment(cluster, cluster.stable)["spec"]) is repeated


def test_what_somebody_else_scaled_is_scaled_back_through_scale():
    cluster = running()
    cluster.deployments[cluster.stable]["spec"]["replicas"] = 9
    snapshot = cluster.snapshot()
    actions = plan(snapshot, Decision(route=snapshot.route.spec))
    assert Scale(NAMESPACE, cluster.stable, 2) in actions


def test_a_revision_that_comes_back_is_scaled_up_before_it_serves():
    cluster = running(rollout=NO_STEPS)
    first = cluster.stable
    cluster.model("m2").run()
    assert cluster.deployments[first]["spec"]["replicas"] == 0
    cluster.model("m1").run()
    assert (cluster.stable, cluster.deployments[first]["spec"]["replicas"]) == (first, 2)


# Overlay: Secrets and placement.


def with_secret(name):
    return {"name": "m1", "baseURL": "https://models.example/v1", "apiKeySecretRef": {"name": name, "key": "k"}}


def test_a_renamed_secret_reaches_the_pods_of_the_present_revision():
    cluster = running(model=with_secret("old"))
    name = cluster.stable
    cluster.edit(model=with_secret("new")).run()
    assert cluster.stable == name
    assert overlay_of(cluster, name)["secrets"] == {"0": {"name": "new", "key": "k"}}
    volumes = cluster.deployments[name]["spec"]["template"]["spec"]["volumes"]
    assert [volume["secret"]["secretName"] for volume in volumes if "secret" in volume] == ["greylag-store", "new"]


def test_placement_waits_while_a_rollout_runs_and_a_condition_says_so():
    cluster = running(rollout=HELD).model("m2").run()
    canary = cluster.canary
    cluster.edit(runtime={"pod": {"nodeSelector": {"disk": "ssd"}}}).run()
    assert cluster.canary == canary
    assert overlay_of(cluster, canary)["placement"] == {}
    condition = cluster.condition("PlacementDeferred")
    assert (condition["status"], condition["reason"]) == ("True", "RolloutInProgress")
    cluster.command = Command("promote-full", "1")
    cluster.run()
    assert overlay_of(cluster, canary)["placement"] == {"nodeSelector": {"disk": "ssd"}}
    assert cluster.condition("PlacementDeferred") is None


def test_a_revision_begins_with_the_overlay_of_its_spec_while_stable_keeps_its_own():
    cluster = running(rollout=HELD, model=with_secret("old"))
    stable = cluster.stable
    cluster.edit(model={**with_secret("new"), "name": "m2"}).run()
    assert overlay_of(cluster, cluster.canary)["secrets"]["0"]["name"] == "new"
    assert overlay_of(cluster, stable)["secrets"]["0"]["name"] == "old"


def test_a_lost_deployment_of_an_old_revision_comes_back_with_its_first_overlay():
    cluster = running(rollout=HELD, model=with_secret("old"))
    stable = cluster.stable
    cluster.edit(model={**with_secret("new"), "name": "m2"}).run()
    del cluster.deployments[stable]
    cluster.run()
    assert overlay_of(cluster, stable)["secrets"]["0"]["name"] == "old"


def test_the_overlay_of_a_first_revision_that_is_not_yet_available_is_not_deferred():
    cluster = Cluster(spec=minimal_spec(model=with_secret("wrong")), pods_follow=False).run()
    cluster.edit(model=with_secret("right")).run()
    assert overlay_of(cluster, cluster.stable)["secrets"]["0"]["name"] == "right"
    assert cluster.condition("PlacementDeferred") is None


def test_pods_without_an_overlay_wait_for_nothing():
    cluster = running(rollout=HELD).model("m2").run()
    snapshot = cluster.snapshot()
    del snapshot.live.deployments[cluster.canary]["metadata"]["annotations"]
    assert placement_problem(snapshot, Decision(route=snapshot.route.spec)) == ()
    assert placement_problem(snapshot, Decision(route=None)) == ()


def test_a_delete_names_the_very_object():
    cluster = running(rollout={**NO_STEPS, "revisionHistoryLimit": 0})
    cluster.model("m2").run()
    deleted = [action.manifest for action in cluster.log if isinstance(action, Delete)]
    assert {manifest["kind"] for manifest in deleted} == {"PodDisruptionBudget", "Service", "Deployment", "ConfigMap"}


# What people edit by hand must not stop the operator.


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        '{"version":1,"secrets":[],"placement":{}}',
        '{"version":1,"secrets":{},"placement":[]}',
        '{"version":1,"secrets":{"x":{"name":"n","key":"k"}},"placement":{}}',
        '{"version":1,"secrets":{"0":{"name":"n"}},"placement":{}}',
        '{"version":1,"secrets":{"0":"n"},"placement":{}}',
    ],
)
def test_an_overlay_edited_into_nonsense_is_put_back_as_it_began(text):
    cluster = running(rollout=HELD, model=with_secret("old")).model("m2").run()
    stable = cluster.stable
    cluster.deployments[stable]["metadata"]["annotations"][OVERLAY_ANNOTATION] = text
    cluster.run()
    assert overlay_of(cluster, stable)["secrets"]["0"]["name"] == "old"


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"template.json": "{}"},
        {"template.json": "[]"},
        {"template.json": '{"spec":{"containers":[]}}'},
        {"template.json": '{"spec":{"containers":[{"env":"x","volumeMounts":[]}],"volumes":[]}}'},
        {"overlay.json": "nonsense"},
        {"document.json": "nonsense"},
    ],
)
def test_a_record_replaced_by_something_else_leaves_its_pods_and_is_named(data):
    cluster = running(rollout=HELD).model("m2").run()
    stable = cluster.stable
    whole = cluster.records[stable]["data"]
    cluster.records[stable]["data"] = {**whole, **data} if data else data
    before = copy.deepcopy(cluster.deployments[stable])
    cluster.run()
    assert cluster.deployments[stable] == before
    assert cluster.condition("RecordLost")["message"].startswith(f"the record of {stable} was deleted or replaced")
