"""From a snapshot to a decision: first routes, unknown targets, instructions that change, lost records."""

from __future__ import annotations

from agent_api.acknowledgement import FIRST_FIELDS, needed_fields
from agent_operator.core.facts import Command
from agent_operator.core.seeing import see
from agent_operator.core.snapshot import QUIET_SECONDS, Problem, StoredRoute
from tests.support.agents import Cluster, minimal_spec

HELD = {"canary": {"steps": [{"setWeight": 10}, {"pause": {}}]}}
MISSING = Problem("InvalidSpec", "InstructionsMissing", "ConfigMap prompts does not exist; create it")


def running(**spec):
    return Cluster(spec=minimal_spec(**spec)).run()


def rejected():
    cluster = running(rollout=HELD).model("m2").run()
    cluster.command = Command("abort", "1")
    return cluster.run()


def test_the_first_route_gets_the_free_port_and_everything():
    cluster = Cluster(free_port=10002)
    cluster.reconcile()
    route = cluster.spec_of_route
    assert (route.port, route.serial, route.epoch) == (10002, 1, 0)
    assert [(entry.name, entry.weight) for entry in route.revisions] == [(cluster.target, 100)]
    assert [(note.warning, note.reason, note.message) for note in cluster.decision.notes] == [
        (False, "RevisionCreated", f"{cluster.target} is the first revision")
    ]
    assert cluster.decision.look_again == 0


def test_without_a_free_port_there_is_no_route_but_a_way_out():
    cluster = Cluster(free_port=None)
    cluster.reconcile()
    assert cluster.route is None
    assert cluster.decision.problems == (
        Problem(
            "PortsExhausted",
            "PortsExhausted",
            "every port of the gateway's range is taken in this namespace; widen portRange in the chart",
        ),
    )


def test_without_a_readable_spec_there_is_no_route():
    cluster = Cluster(problems=(MISSING,))
    cluster.reconcile()
    assert (cluster.route, cluster.decision.problems) == (None, (MISSING,))


def test_a_first_route_waits_for_the_instructions_to_settle():
    cluster = Cluster(changing=True)
    cluster.reconcile()
    assert cluster.route is None
    assert (cluster.decision.waiting, cluster.decision.look_again) == ("waiting for the instructions to settle", 2.0)


def test_a_command_from_before_is_ignored():
    cluster = Cluster(command=Command("undo", "old")).run()
    assert cluster.status["observedCommand"]["result"] == "Ignored"


def test_a_lost_route_begins_with_the_recorded_stable_revision_not_with_the_newest():
    cluster = running(rollout=HELD)
    stable = cluster.stable
    cluster.model("m2").run()
    cluster.route = None
    cluster.reconcile()
    route = cluster.spec_of_route
    assert (cluster.stable, cluster.canary) == (stable, None)
    assert route.rollout.stable_available
    assert route.rollout.history == (stable,)
    assert (route.rollout.started_at, route.rollout.progress_at) == (None, None)
    assert cluster.run().canary == cluster.target


def test_a_stable_revision_without_a_record_cannot_be_begun_with():
    cluster = running()
    del cluster.records[cluster.stable]
    cluster.route = None
    cluster.model("m2").reconcile()
    assert cluster.stable == cluster.target
    assert not cluster.spec_of_route.rollout.stable_available


def test_while_the_spec_cannot_be_read_a_rejection_is_remembered():
    cluster = rejected()
    for facts in ({"problems": (MISSING,)}, {"problems": (), "changing": True}):
        for name, value in facts.items():
            setattr(cluster, name, value)
        cluster.run()
        assert cluster.spec_of_route.rollout.rejected is not None
        assert cluster.canary is None
    cluster.changing = False
    assert cluster.run().canary is None


def test_while_the_spec_cannot_be_read_a_rollout_keeps_its_canary():
    cluster = running(rollout=HELD).model("m2").run()
    canary = cluster.canary
    cluster.problems = (MISSING,)
    assert cluster.run().canary == canary


def test_while_the_spec_cannot_be_read_an_undo_stays_undone():
    cluster = running(rollout=HELD)
    first = cluster.stable
    cluster.model("m2").run()
    cluster.command = Command("promote-full", "1")
    cluster.run()
    cluster.command = Command("undo", "2")
    cluster.run()
    cluster.problems = (MISSING,)
    assert cluster.run().stable == first
    cluster.problems = ()
    assert cluster.run().stable == first


def test_a_change_is_taken_up_only_when_the_instructions_have_settled():
    cluster = running(rollout=HELD)
    cluster.changing = True
    cluster.model("m2").run()
    assert (cluster.canary, cluster.decision.look_again) == (None, QUIET_SECONDS)
    cluster.changing = False
    assert cluster.run().canary == cluster.target


def test_a_change_of_instructions_is_looked_at_in_time_also_while_something_drains():
    cluster = running(rollout={"canary": {"steps": []}}).model("m2").run()
    assert cluster.decision.look_again == 3600
    cluster.changing = True
    assert cluster.run().decision.look_again == QUIET_SECONDS


def test_what_the_engine_sees_is_what_the_snapshot_says():
    cluster = running(rollout=HELD, paused=True, suspend=True)
    seen = see(cluster.snapshot(), cluster.spec_of_route)
    assert (seen.target, seen.replicas, seen.paused, seen.knobs.suspended) == (cluster.target, 2, True, True)
    assert seen.acknowledged
    assert seen.recorded == {cluster.target}
    assert seen.rollout == cluster.parsed().rollout


def test_a_route_of_another_uid_is_not_acknowledged():
    cluster = running()
    cluster.gateways_follow = False
    cluster.route = StoredRoute("another", cluster.spec_of_route)
    assert not see(cluster.snapshot(), cluster.spec_of_route).acknowledged


def test_without_ready_gateways_nothing_is_acknowledged():
    cluster = running()
    cluster.ready_gateways = ()
    assert not see(cluster.snapshot(), cluster.spec_of_route).acknowledged


def test_a_decision_that_changes_the_routing_is_not_acknowledged_by_the_old_serial():
    cluster = running(rollout=HELD).model("m2")
    cluster.reconcile()
    assert not cluster.decision.acknowledged
    cluster.run()
    assert cluster.decision.acknowledged


def test_a_gateway_that_does_not_know_a_field_has_not_confirmed_it_and_is_named():
    cluster = running()
    cluster.run()
    assert cluster.decision.acknowledged
    older = frozenset(FIRST_FIELDS) - {"revisions.weight"}
    cluster.gateway_fields = {cluster.ready_gateways[0]: older}
    cluster.run()
    assert not cluster.decision.acknowledged
    error = next(entry for entry in cluster.status["conditions"] if "gateway.template" in entry["message"])
    assert "does not enforce revisions.weight" in error["message"]


def test_what_a_route_leaves_at_its_default_no_gateway_has_to_know():
    entry = {"name": "v1", "service": "v1", "weight": 100, "role": "Stable"}
    assert needed_fields({"serial": 1, "revisions": [entry], "rollout": {"stepIndex": 1}}) <= set(FIRST_FIELDS)
    assert "revisions.anyEpoch" in needed_fields({"revisions": [{**entry, "anyEpoch": True}]})
    assert "jwt.claim" in needed_fields({"jwt": {"issuer": "i", "claim": "c"}})
