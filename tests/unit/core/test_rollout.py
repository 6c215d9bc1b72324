"""The rollout engine, one behaviour a test: each scene reads as what happened and what came of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_api.v1alpha1.rollout import Stickiness
from agent_api.v1alpha1.route import Drain, Role
from agent_operator.core import routing
from agent_operator.core.engine.goal import steps_hash
from agent_operator.core.facts import RevisionHealth
from tests.support.scene import (
    PORT,
    START,
    Scene,
    analysis,
    healthy,
    pause,
    rolling,
    rollout_of,
    stable_route,
    starting,
    weight,
)


def first_scene(**facts):
    return Scene(route=routing.first_route(PORT, "v1", START), health={}, ever_available=set(), **facts)


# The first revision.


def test_first_revision_serves_everything_from_the_start_without_steps():
    scene = first_scene().run()
    assert [(entry.name, entry.role, entry.weight) for entry in scene.route.revisions] == [("v1", Role.STABLE, 100)]
    assert not scene.route.rollout.stable_available
    assert scene.waiting == "v1: waiting for its first pods"


def test_first_revision_becomes_stable_for_good_when_it_is_available():
    scene = first_scene().is_ready("v1").run()
    ledger = scene.route.rollout
    assert ledger.stable_available
    assert ledger.history == ("v1",)
    assert (ledger.started_at, ledger.progress_at, ledger.progress_ready) == (None, None, 0)
    assert [(note.reason, note.message) for note in scene.notes] == [("RolloutCompleted", "v1 is available and serves")]
    assert scene.waiting == ""


@pytest.mark.parametrize(
    "health",
    [
        starting(ready=1),
        RevisionHealth(exists=True, pods=2, ready=2, status_current=False),
        RevisionHealth(exists=False, pods=2, ready=2, status_current=True),
    ],
    ids=["too few pods", "status out of date", "no Deployment"],
)
def test_first_revision_is_awaited_with(health):
    scene = first_scene()
    scene.health["v1"] = health
    assert scene.run().route.rollout.started_at is not None
    assert scene.waiting == "v1: waiting for its first pods"


def test_first_revision_that_never_came_up_is_replaced_without_a_canary():
    scene = first_scene().is_broken("v1").run()
    scene.passes(100).asks("v2").run()
    assert (scene.stable, scene.canary, scene.route.epoch, scene.route.serial) == ("v2", None, 0, 2)
    assert (scene.notes[-1].reason, scene.notes[-1].message) == (
        "RevisionReplaced",
        "v2 replaces v1, which never served",
    )
    assert scene.route.rollout.progress_at == scene.now
    scene.is_ready("v2").run()
    assert scene.route.rollout.history == ("v2",)


def test_first_revision_past_its_deadline_is_said_to_be_stuck_and_recovers_when_its_pods_come():
    scene = first_scene().run()
    assert scene.step().look_again == pytest.approx(600)
    scene.passes(599)
    assert not scene.step().overdue
    scene.passes(2)
    stuck = scene.step()
    assert stuck.overdue
    assert stuck.waiting == "v1: not available after 10m: 0 of 2 pods are ready"
    assert scene.stable == "v1"
    scene.is_ready("v1").run()
    assert scene.route.rollout.stable_available


def test_a_first_revision_of_which_a_pod_served_is_replaced_by_steps_alone():
    scene = first_scene().is_starting("v1", ready=1).run()
    assert scene.route.rollout.stable_available
    assert scene.route.rollout.history == ("v1",)
    scene.passes(86_400).run().asks("v2").is_starting("v2").run()
    assert (scene.stable, scene.canary, scene.weight) == ("v1", "v2", 0)
    assert "RevisionReplaced" not in scene.reasons


def test_a_first_revision_whose_pod_no_gateway_has_is_not_serving_yet():
    scene = first_scene().gateways_are_silent().is_starting("v1", ready=1).run()
    assert not scene.route.rollout.stable_available


def test_a_first_revision_that_serves_in_part_is_still_awaited_and_said_to_be_stuck():
    scene = first_scene().is_starting("v1", ready=1).run().passes(601)
    stuck = scene.step()
    assert (stuck.overdue, stuck.waiting) == (True, "v1: not available after 10m: 1 of 2 pods are ready")
    scene.is_ready("v1").run()
    assert (scene.reasons, scene.waiting) == (["RolloutCompleted"], "")
    assert scene.route.rollout.started_at is None


def test_progress_of_the_first_revision_is_noted():
    scene = first_scene().run()
    scene.passes(30).is_starting("v1", ready=1).run()
    assert (scene.route.rollout.progress_at, scene.route.rollout.progress_ready) == (scene.now, 1)
    moment = scene.now
    scene.passes(30).is_starting("v1", ready=1).run()
    assert scene.route.rollout.progress_at == moment


def test_first_revision_without_replicas_is_available_once_its_deployment_is_there():
    scene = first_scene(replicas=0).run()
    assert not scene.route.rollout.stable_available
    scene.health["v1"] = healthy(0)
    assert scene.run().route.rollout.stable_available


# Begin.


def test_a_rollout_begins_a_new_epoch_with_the_canary_at_weight_0():
    scene = Scene().asks("v2")
    scene.step()
    assert [(entry.name, entry.service, entry.role, entry.weight) for entry in scene.route.revisions] == [
        ("v1", "v1", Role.STABLE, 100),
        ("v2", "v2", Role.CANARY, 0),
    ]
    assert (scene.route.epoch, scene.route.serial, scene.index) == (1, 2, 0)
    ledger = scene.route.rollout
    assert (ledger.started_at, ledger.progress_at, ledger.step_since) == (START, START, None)
    assert ledger.steps_hash == steps_hash(scene.seen())
    assert not ledger.promote_full
    assert scene.notes[-1].reason == "RolloutStarted"
    assert scene.notes[-1].message == "v2 is rolled out in 4 steps, from v1"


def test_nothing_happens_while_the_spec_asks_for_what_serves():
    scene = Scene().run()
    assert scene.route == stable_route()
    assert scene.last.look_again is None


def test_a_rollout_is_not_begun_while_the_spec_is_paused():
    scene = Scene(paused=True).asks("v2").is_ready("v2").run()
    assert (scene.canary, scene.waiting) == (
        None,
        "v2 is not begun: spec.paused is true; set it to false to go on",
    )
    scene.paused = False
    assert scene.run().canary == "v2"


def test_a_pause_does_not_hide_the_end_of_a_drain():
    scene = rolling(plan=rollout_of(conversationDrain="10m"), through_json=True)
    scene.paused = True
    scene.asks("v3").run()
    assert scene.last.look_again == 600
    assert scene.passes(600).run().draining == []


# Raising the weight.


def test_the_first_weight_waits_for_the_pods():
    scene = Scene().asks("v2").is_starting("v2", ready=1).run()
    assert (scene.weight, scene.waiting) == (0, "v2: 1 of 2 pods are ready")
    assert scene.last.look_again == 5.0
    scene.is_ready("v2").run()
    assert scene.weight == 10


def test_what_a_pod_says_of_its_readiness_is_passed_on():
    scene = Scene().asks("v2")
    scene.health["v2"] = replace(starting(), not_ready_reason="Secret openai is missing")
    assert scene.run().waiting == "v2: Secret openai is missing"


def test_stable_gets_what_the_canary_does_not():
    scene = rolling()
    assert [(entry.role, entry.weight) for entry in scene.route.revisions] == [(Role.STABLE, 90), (Role.CANARY, 10)]
    assert "canary weight 10 %" in [note.message for note in scene.notes]


def test_a_weight_passes_only_when_every_gateway_has_it():
    scene = Scene().asks("v2").is_ready("v2").gateways_are_silent().run()
    assert (scene.weight, scene.index) == (10, 0)
    assert scene.waiting == "waiting until every ready gateway has confirmed weight 10 %"
    assert scene.last.look_again == 1.0
    scene.gateways_acknowledge().run()
    assert scene.index == 1
    assert "step 1/4: every ready gateway serves weight 10 %" in [note.message for note in scene.notes]


def test_a_second_weight_waits_for_the_pods_too():
    scene = rolling(plan=rollout_of(weight(10), pause("1m"), weight(50)))
    scene.is_starting("v2", ready=1).passes(61).run()
    assert scene.weight == 10
    assert scene.is_ready("v2").run().stable == "v2"


def test_a_transition_that_is_no_failure_warns_nobody():
    scene = rolling().serve_well().run().serve_well().run()
    assert scene.stable == "v2"
    assert not [note for note in scene.notes if note.warning]


def test_holding_steps_wait_until_the_gateways_have_the_weight():
    scene = Scene(plan=rollout_of(weight(10), pause("1m"))).asks("v2").is_ready("v2").run()
    scene.gateways_are_silent()
    scene.suspended = True
    scene.run().passes(100).run()
    assert (scene.index, scene.waiting) == (1, "the gateways have not confirmed the weight yet")
    assert scene.last.look_again == 1.0


def test_the_weights_of_the_steps_are_reached_in_their_order():
    scene = rolling(plan=rollout_of(weight(5), pause("1s"), weight(20), pause("1s"), weight(20), weight(100)))
    scene.passes(1).run().passes(1).run()
    weights = [routing.canary_weight(state) for state in scene.states if state.epoch == 1]
    assert list(dict.fromkeys(weights)) == [0, 5, 20, 100]
    assert scene.stable == "v2"


# Pause.


def test_a_timed_pause_counts_from_its_begin():
    scene = rolling(plan=rollout_of(weight(10), pause("5m"), weight(50), pause()))
    assert (scene.index, scene.waiting, scene.last.look_again) == (1, "paused for 5m", 1.0)
    assert scene.passes(299.5).run().index == 1
    assert scene.last.look_again == 0.5
    assert scene.passes(0.5).run().index == 3


def test_a_timed_pause_before_any_weight_looks_again_at_its_end():
    scene = rolling(plan=rollout_of(pause("3s"), weight(10), pause()))
    assert (scene.weight, scene.last.look_again) == (0, 3.0)
    assert scene.passes(3).run().weight == 10


def test_a_pause_without_duration_waits_for_promote():
    scene = rolling(plan=rollout_of(weight(10), pause(), weight(50), pause()))
    scene.passes(86_400).run()
    assert scene.index == 1
    assert scene.waiting == "paused by its step; type `kubectl agent promote` to go on, `abort` to take it back"
    scene.types("promote").run()
    assert (scene.index, scene.weight) == (3, 50)


# Promotion.


def promoted_scene(**facts):
    return rolling(plan=rollout_of(), **facts)


def test_without_steps_a_canary_is_promoted_as_soon_as_it_is_available():
    scene = Scene(plan=rollout_of()).asks("v2").is_starting("v2").run()
    assert scene.canary == "v2"
    assert scene.is_ready("v2").run().stable == "v2"


def test_promotion_keeps_the_old_conversations_for_the_drain():
    scene = promoted_scene()
    assert [(entry.name, entry.role, entry.weight) for entry in scene.route.revisions] == [
        ("v2", Role.STABLE, 100),
        ("v1", Role.DRAINING, 0),
    ]
    ledger = scene.route.rollout
    assert ledger.draining == (Drain(revision="v1", until=START + timedelta(hours=1)),)
    assert ledger.history == ("v2", "v1")
    assert (ledger.step_index, ledger.started_at, ledger.step_since, ledger.analysis) == (0, None, None, None)
    assert (ledger.progress_at, ledger.promote_full, ledger.stable_available) == (None, False, True)
    assert (scene.notes[-1].reason, scene.notes[-1].message) == ("RolloutCompleted", "v2 is promoted")


def test_a_drain_ends_when_its_time_is_over():
    scene = promoted_scene()
    assert scene.last.look_again == 3600
    assert scene.passes(3599).run().draining == ["v1"]
    serial = scene.route.serial
    assert scene.passes(1).run().draining == []
    assert (scene.route.rollout.draining, scene.route.serial) == ((), serial + 1)
    assert scene.last.look_again is None


def test_each_old_revision_drains_for_its_own_time():
    scene = promoted_scene().passes(1000).asks("v3").is_ready("v3").run()
    assert scene.draining == ["v1", "v2"]
    assert scene.last.look_again == 2600
    assert scene.passes(2600).run().draining == ["v2"]


def test_a_drain_of_no_time_keeps_nothing():
    scene = rolling(plan=rollout_of(conversationDrain="0s"))
    assert (scene.stable, scene.draining, scene.route.rollout.draining) == ("v2", [], ())


def test_a_draining_revision_that_is_asked_for_again_becomes_the_canary():
    scene = promoted_scene().asks("v1").is_starting("v1").run()
    assert [(entry.name, entry.role) for entry in scene.route.revisions] == [
        ("v2", Role.STABLE),
        ("v1", Role.CANARY),
    ]
    assert scene.route.rollout.draining == ()
    scene.is_ready("v1").run()
    assert (scene.stable, scene.draining, scene.route.rollout.history) == ("v1", ["v2"], ("v1", "v2"))


def test_no_more_than_sixteen_old_revisions_drain():
    scene = promoted_scene()
    for number in range(3, 22):
        scene.asks(f"v{number}").is_ready(f"v{number}").run()
    assert len(scene.draining) == 16
    assert scene.draining[-1] == "v20"


def test_the_history_keeps_no_more_than_the_limit_and_the_present_one():
    scene = rolling(plan=rollout_of(revisionHistoryLimit=2))
    for number in range(3, 6):
        scene.asks(f"v{number}").is_ready(f"v{number}").run()
    assert scene.route.rollout.history == ("v5", "v4", "v3")


def test_without_replicas_a_revision_is_promoted_at_once_and_nothing_drains():
    scene = Scene(replicas=0, health={"v1": healthy(0)}).asks("v2")
    scene.health["v2"] = healthy(0)
    scene.run()
    assert (scene.stable, scene.canary, scene.draining) == ("v2", None, [])
    assert "v2 is rolled out without steps, from v1" in [note.message for note in scene.notes]


@pytest.mark.parametrize(("window", "steps"), [(1, 1), (2, 0), (0, 1)])
def test_revisions_within_the_rollback_window_take_over_without_steps(window, steps):
    scene = Scene(
        route=stable_route("v3", history=("v3", "v2", "v1")),
        health={name: healthy() for name in ("v1", "v2", "v3")},
        ever_available={"v1", "v2", "v3"},
        plan=rollout_of(weight(10), pause(), rollbackWindow=window),
    )
    scene.asks("v1").run()
    assert (scene.stable, scene.index) == (("v1", 0) if steps == 0 else ("v3", 1))


# Edited steps.


@pytest.mark.parametrize(
    ("edited", "index", "percent"),
    [
        ((weight(5), pause(), weight(20), pause()), 3, 20),
        ((weight(10), pause("1h"), weight(50)), 1, 10),
        ((pause(), weight(5), pause(), weight(30), pause()), 4, 30),
        ((weight(2), pause(), weight(5), pause()), 3, 5),
        ((pause(),), 0, 10),
    ],
    ids=["first not below", "equal", "holds before it are behind", "none is: the last one", "no weight at all"],
)
def test_edited_steps_resume_at_the_first_weight_that_is_not_below_the_present_one(edited, index, percent):
    scene = rolling(plan=rollout_of(weight(10), pause()))
    scene.with_steps(*edited).run()
    assert (scene.canary, scene.index, scene.weight) == ("v2", index, percent)
    assert "StepsEdited" in scene.reasons


def test_all_steps_removed_promote_the_canary():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    assert scene.with_steps().run().stable == "v2"


def test_a_hold_before_any_weight_survives_an_edit():
    scene = rolling(plan=rollout_of(pause(), weight(10), pause()))
    scene.with_steps(*scene.plan.canary.steps, judged=analysis(min_samples=10)).run()
    assert (scene.index, scene.weight) == (0, 0)


def test_an_edit_of_the_analysis_begins_it_anew_and_reads_nothing_twice():
    scene = rolling().serve(canary=(30, 0), stable=(30, 0)).run()
    before = scene.route.rollout.analysis
    scene.with_steps(*scene.plan.canary.steps, judged=analysis(min_samples=10)).run()
    after = scene.route.rollout.analysis
    assert after.read_until == before.read_until
    assert scene.waiting == "analysis: fewer canary conversations in this step than minSamples"


def test_an_edit_is_taken_up_while_paused():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    scene.paused = True
    scene.with_steps(weight(10), pause("1h")).run()
    assert scene.waiting == "spec.paused is true; set it to false to go on"
    assert scene.route.rollout.steps_hash == steps_hash(scene.seen())


def test_knobs_that_are_no_steps_do_not_disturb_a_rollout():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    before = scene.route
    scene.plan = scene.plan.model_copy(update={"conversation_drain": "5m", "rollback_window": 1})
    assert scene.run().route == before


# Lease.


def test_the_lease_is_bumped_every_20_seconds_without_a_new_serial():
    scene = rolling()
    counter, serial = scene.route.lease.counter, scene.route.serial
    assert scene.passes(19.9).run().route.lease.counter == counter
    assert scene.passes(0.1).run().route.lease.counter == counter + 1
    assert (scene.route.lease.bumped_at, scene.route.serial) == (scene.now, serial)


def test_the_lease_is_bumped_while_paused_and_while_pods_are_lost():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    counter = scene.route.lease.counter
    scene.paused = True
    assert scene.passes(20).run().route.lease.counter == counter + 1
    assert scene.is_starting("v2").passes(20).run().route.lease.counter == counter + 2


def test_a_new_weight_begins_the_lease_anew():
    scene = Scene().asks("v2").run().passes(500).is_ready("v2")
    scene.run()
    assert scene.route.lease.bumped_at == scene.now


@pytest.mark.parametrize("percent", [0, 100])
def test_without_a_split_there_is_no_lease(percent):
    scene = rolling(plan=rollout_of(weight(percent), pause()))
    counter = scene.route.lease.counter
    assert scene.passes(100).run().route.lease.counter == counter


def test_every_wait_with_a_split_looks_again_in_time_for_the_lease():
    for change in ({}, {"paused": True}, {"complete": False}):
        scene = rolling(plan=rollout_of(weight(10), pause()))
        for name, value in change.items():
            setattr(scene, name, value)
        assert scene.run().last.look_again <= 5
        assert scene.is_starting("v2").run().last.look_again <= 5


# Live knobs.


def test_suspend_reaches_the_gateways_at_once_and_says_so():
    scene = Scene(suspended=True).run()
    assert (scene.route.suspended, scene.route.serial) == (True, 2)
    assert [(note.warning, note.reason) for note in scene.notes] == [(True, "Suspended")]
    scene.suspended = False
    scene.run()
    assert (scene.route.suspended, scene.route.serial) == (False, 3)
    assert [(note.warning, note.reason) for note in scene.notes[1:]] == [(False, "Resumed")]


def test_suspend_reaches_an_agent_that_never_was_available():
    scene = first_scene(suspended=True).run()
    assert scene.route.suspended


def test_stickiness_reaches_the_gateways_in_mid_rollout():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    before = scene.route
    scene.plan = rollout_of(weight(10), pause(), stickiness=Stickiness.USER)
    scene.run()
    assert scene.route.stickiness is Stickiness.USER
    assert (scene.route.serial, scene.index, scene.weight) == (before.serial + 1, 1, 10)
    assert "Suspended" not in scene.reasons


# The spec's pause.


def test_spec_paused_freezes_a_rollout_where_it_stands():
    scene = rolling(plan=rollout_of(weight(10), pause("1m"), weight(50), pause()))
    scene.paused = True
    scene.passes(3600).run()
    assert (scene.index, scene.weight) == (1, 10)
    assert scene.waiting == "spec.paused is true; set it to false to go on"
    assert scene.last.look_again == 1.0
    scene.paused = False
    assert scene.run().weight == 50


def test_spec_paused_keeps_a_canary_that_the_spec_no_longer_asks_for_until_it_goes_on():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    scene.paused = True
    scene.asks("v3").is_ready("v3").run()
    assert (scene.canary, scene.weight) == ("v2", 10)
    scene.paused = False
    assert scene.run().canary == "v3"


def test_a_revert_is_taken_up_also_while_paused():
    scene = rolling(plan=rollout_of(weight(10), pause()))
    scene.paused = True
    assert scene.asks("v1").run().canary is None


def lowering():
    return rolling(plan=rollout_of(weight(50), pause("1m"), weight(10), pause()))


def test_a_step_that_lowers_the_weight_waits_for_no_pods():
    scene = lowering().passes(60)
    scene.route = routing.edit_ledger(scene.route, step_index=2)
    scene.is_starting("v2").run()
    assert scene.weight == 10


def test_a_step_that_lowers_the_weight_waits_for_the_spec():
    scene = lowering()
    scene.paused = True
    scene.route = routing.edit_ledger(scene.route, step_index=2)
    assert scene.run().weight == 50


def test_promote_full_does_not_stop_at_a_step_that_lowers_the_weight():
    scene = lowering().passes(60)
    scene.route = routing.edit_ledger(scene.route, step_index=2)
    scene.types("promote-full").run()
    assert scene.stable == "v2"
    assert 10 not in [routing.canary_weight(state) for state in scene.states]


def test_an_undo_to_a_revision_that_still_drains_never_lets_its_conversations_go():
    scene = promoted_scene()
    before = scene.route
    scene.types("undo").run()
    after = scene.route
    assert (scene.stable, scene.draining, after.serial, after.epoch) == ("v1", ["v2"], before.serial + 1, 2)
    assert not [state for state in scene.states if routing.name_of(state, Role.CANARY) == "v1"]


def test_an_undo_to_a_draining_revision_without_pods_waits_for_them():
    scene = promoted_scene().is_starting("v1").types("undo").run()
    assert (scene.stable, scene.canary, scene.weight) == ("v2", "v1", 0)
    assert scene.is_ready("v1").run().stable == "v1"
