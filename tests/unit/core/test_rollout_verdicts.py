"""How a rollout is judged and taken back: analysis, failures by rule, rejection, supersession."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_api.v1alpha1.rollout import OnInconclusive
from agent_operator.core import routing
from agent_operator.core.engine.goal import goal_of
from agent_operator.core.engine.safety import take_back
from agent_operator.core.facts import FailureReason
from tests.support.scene import (
    START,
    Scene,
    analysis,
    analyze,
    pause,
    rolling,
    rollout_of,
    stable_route,
    starting,
    weight,
)

# Analysis.


def test_an_analysis_without_requests_says_so():
    scene = rolling()
    assert (scene.index, scene.waiting) == (1, "the analysis waits for its first requests")
    assert scene.last.look_again == 1.0


def test_a_good_canary_passes_every_analysis_and_is_promoted():
    scene = rolling()
    for _ in range(2):
        scene.serve_well().run()
    assert (scene.stable, scene.canary, scene.draining) == ("v2", None, ["v1"])
    assert scene.route.rollout.history == ("v2", "v1")


def test_a_running_analysis_says_what_it_waits_for():
    scene = rolling().serve(canary=(5, 0), stable=(5, 0)).run()
    assert scene.waiting == "analysis: fewer canary conversations in this step than minSamples"


def test_a_bad_canary_is_taken_back_in_one_transition():
    scene = rolling().serve_badly().run()
    before, after = scene.states[-2:]
    assert (routing.canary_weight(before), routing.canary_weight(after)) == (10, 0)
    assert after.serial == before.serial + 1
    assert (scene.canary, scene.weight, scene.stable, scene.rejected) == (None, 0, "v1", "v2")
    rejection = scene.route.rollout.rejected
    assert rejection.reason == "AnalysisFailed"
    assert rejection.message.startswith("errorRate: canary 60.0 % of")
    assert scene.notes[-1].warning


def test_a_bad_canary_is_taken_back_also_while_paused():
    scene = rolling()
    scene.paused = True
    scene.serve_badly().run()
    assert (scene.canary, scene.rejected) == (None, "v2")


def test_a_bad_canary_is_taken_back_also_at_a_pause_step():
    scene = rolling(plan=rollout_of(weight(10), pause(), weight(50)))
    assert scene.serve_badly().run().rejected == "v2"


def test_a_bad_canary_is_taken_back_also_while_its_pods_are_not_available():
    scene = rolling().is_starting("v2", ready=1).run()
    assert scene.serve_badly().run().rejected == "v2"


def test_incomplete_observations_prove_nothing():
    scene = rolling(complete=False).serve_well().run()
    assert (scene.index, scene.route.rollout.analysis) == (1, None)


@pytest.mark.parametrize("complete", [True, False], ids=["no requests", "no complete observations"])
def test_at_max_duration_without_any_request_the_policy_decides(complete):
    judged = analysis(max_duration="10m", on_inconclusive=OnInconclusive.ROLLBACK)
    scene = rolling(plan=rollout_of(weight(10), analyze(), judged=judged), complete=complete)
    assert scene.passes(599).run().canary == "v2"
    assert scene.passes(1).run().rejected == "v2"
    assert scene.route.rollout.rejected.reason == "AnalysisInconclusive"


def test_inconclusive_rollback_takes_the_canary_back():
    judged = analysis(max_duration="10m", on_inconclusive=OnInconclusive.ROLLBACK)
    scene = rolling(plan=rollout_of(weight(10), analyze(), judged=judged))
    scene.serve(canary=(5, 0), stable=(5, 0)).run()
    scene.passes(600).run()
    assert scene.route.rollout.rejected.reason == "AnalysisInconclusive"
    assert scene.route.rollout.rejected.message.startswith("no verdict within maxDuration: ")


def test_inconclusive_promote_goes_on():
    judged = analysis(max_duration="10m", on_inconclusive=OnInconclusive.PROMOTE)
    scene = rolling(plan=rollout_of(weight(10), analyze(), judged=judged))
    scene.serve(canary=(5, 0), stable=(5, 0)).run()
    assert scene.passes(600).run().stable == "v2"
    assert any("passed by onInconclusive" in note.message for note in scene.notes)


def test_inconclusive_pause_says_so_once_and_waits():
    scene = rolling(plan=rollout_of(weight(10), analyze(), judged=analysis(max_duration="10m")))
    scene.serve(canary=(5, 0), stable=(5, 0)).run().passes(600).run().passes(600).run()
    assert scene.reasons.count("AnalysisInconclusive") == 1
    assert scene.notes[-1].warning
    assert scene.index == 1
    assert scene.waiting.startswith("analysis inconclusive: no verdict within maxDuration: ")
    assert scene.waiting.endswith("; type `kubectl agent promote` or `abort`")
    assert scene.types("promote").run().stable == "v2"


def test_an_inconclusive_analysis_may_still_pass():
    scene = rolling(plan=rollout_of(weight(10), analyze(), judged=analysis(max_duration="1m")))
    scene.serve(canary=(5, 0), stable=(5, 0)).run().passes(60).run()
    assert scene.route.rollout.analysis.inconclusive
    assert scene.serve_well().run().stable == "v2"


def test_an_analysis_begins_its_clock_with_its_step():
    scene = rolling(plan=rollout_of(weight(10), pause("30m"), analyze(), judged=analysis(max_duration="40m")))
    scene.serve(canary=(5, 0), stable=(5, 0)).run().passes(1800).run()
    assert scene.index == 2
    assert not scene.passes(1800).run().route.rollout.analysis.inconclusive
    assert scene.passes(600).run().route.rollout.analysis.inconclusive


def test_an_analysis_at_weight_0_has_nothing_to_wait_for():
    scene = rolling(plan=rollout_of(analyze(), weight(10), pause()))
    assert (scene.index, scene.weight) == (2, 10)


def test_each_step_counts_its_own_samples():
    scene = rolling(plan=rollout_of(weight(10), analyze(), weight(50), analyze()))
    scene.serve_well().run()
    assert scene.index == 3
    assert scene.waiting == "analysis: fewer canary conversations in this step than minSamples"


# Failures by rule.


@pytest.mark.parametrize("reason", list(FailureReason))
def test_pods_that_cannot_work_take_the_canary_back(reason):
    scene = rolling().is_broken("v2", reason).run()
    assert (scene.canary, scene.rejected) == (None, "v2")
    assert (scene.route.rollout.rejected.reason, scene.route.rollout.rejected.message) == (
        reason.value,
        f"pod p: {reason}",
    )
    assert scene.route.rollout.last_rollback == scene.route.rollout.rejected
    assert scene.notes[-1].message == f"v2 is taken back ({reason.value}): pod p: {reason}"


def test_pods_that_cannot_work_take_the_canary_back_before_it_served():
    scene = Scene().asks("v2").is_broken("v2").run()
    assert (scene.canary, scene.rejected) == (None, "v2")
    assert all(routing.canary_weight(state) == 0 for state in scene.states)


def test_a_broken_stable_does_not_take_a_canary_back():
    assert rolling().is_broken("v1").run().canary == "v2"


def test_a_canary_that_is_never_ready_is_taken_back_at_the_deadline():
    scene = Scene(plan=rollout_of(weight(10), progressDeadline="2m")).asks("v2").is_starting("v2").run()
    assert scene.passes(119).run().canary == "v2"
    assert scene.last.look_again == 1
    assert scene.passes(1).run().rejected == "v2"
    assert scene.route.rollout.rejected.reason == "ProgressDeadlineExceeded"
    assert scene.route.rollout.rejected.message == "not available after 2m: 0 of 2 pods are ready"


def test_progress_moves_the_deadline():
    scene = Scene(plan=rollout_of(weight(10), progressDeadline="2m")).asks("v2").is_starting("v2").run()
    scene.passes(100).is_starting("v2", ready=1).run()
    assert scene.passes(119).run().canary == "v2"
    assert scene.passes(1).run().rejected == "v2"


def test_flapping_pods_do_not_move_the_deadline():
    scene = Scene(plan=rollout_of(weight(10), progressDeadline="2m")).asks("v2").is_starting("v2").run()
    for ready in (1, 0, 1, 0, 1):
        scene.passes(25).is_starting("v2", ready=ready).run()
    assert scene.passes(20).run().rejected == "v2"


def test_the_deadline_begins_anew_when_pods_are_lost_later():
    scene = rolling(plan=rollout_of(weight(10), pause(), progressDeadline="2m")).passes(1000).run()
    scene.is_starting("v2", ready=1).run()
    assert scene.route.rollout.progress_at == scene.now
    assert scene.passes(119).run().canary == "v2"
    assert scene.passes(1).run().rejected == "v2"


def test_the_deadline_ends_when_the_pods_are_back():
    scene = rolling(plan=rollout_of(weight(10), pause(), progressDeadline="2m"))
    scene.is_starting("v2", ready=1).run().passes(100).is_ready("v2").run()
    assert scene.route.rollout.progress_at is None
    assert scene.route.rollout.progress_ready == 0
    assert scene.passes(1000).is_starting("v2").run().canary == "v2"


def test_the_deadline_runs_also_while_paused():
    scene = Scene(plan=rollout_of(weight(10), progressDeadline="2m")).asks("v2").is_starting("v2").run()
    scene.paused = True
    assert scene.run().passes(120).run().rejected == "v2"


def test_very_long_causes_are_cut_to_what_the_route_holds():
    scene = rolling()
    scene.health["v2"] = replace(starting(), not_ready_reason="x" * 5000)
    scene.run().passes(601).run()
    assert len(scene.route.rollout.rejected.message) == 1024
    assert len(scene.notes[-1].message) == 1000


def test_without_a_canary_there_is_nothing_to_take_back():
    with pytest.raises(ValueError, match="no canary"):
        take_back(stable_route(), "CrashLoop", "", START)


# After a rejection.


def rejected_scene(**facts):
    return rolling(**facts).is_broken("v2").run()


def test_a_rejected_revision_is_not_tried_again():
    scene = rejected_scene().is_ready("v2").passes(86_400).run()
    assert (scene.canary, scene.stable, scene.route.epoch) == (None, "v1", 1)
    assert goal_of(scene.route, scene.seen()) == "v1"


def test_a_change_of_the_spec_forgets_the_rejection_and_keeps_what_went_wrong():
    scene = rejected_scene().asks("v3").is_ready("v3").run()
    assert (scene.canary, scene.rejected, scene.route.epoch) == ("v3", None, 2)
    assert scene.route.rollout.last_rollback.revision == "v2"


def test_going_back_to_the_served_revision_forgets_the_rejection():
    scene = rejected_scene().asks("v1").run()
    assert (scene.canary, scene.stable, scene.rejected) == (None, "v1", None)
    assert scene.asks("v2").is_ready("v2").run().canary == "v2"


def test_retry_tries_a_rejected_revision_again_from_the_first_step():
    scene = rejected_scene().is_ready("v2").types("retry").run()
    assert scene.answer == ("Done", "v2 is rolled out again")
    assert (scene.canary, scene.weight, scene.route.epoch, scene.index) == ("v2", 10, 2, 1)
    assert scene.route.rollout.analysis is None


# Supersession.


def test_a_superseded_canary_gives_way_to_the_next_against_the_original_stable():
    scene = rolling().asks("v3").is_ready("v3").run()
    assert (scene.stable, scene.canary, scene.weight, scene.route.epoch) == ("v1", "v3", 10, 2)
    assert scene.rejected is None
    assert scene.route.rollout.last_rollback is None
    assert "v2 is withdrawn: the spec asks for v3" in [note.message for note in scene.notes]
    assert [entry.name for entry in scene.route.revisions] == ["v1", "v3"]


def test_reverting_the_spec_withdraws_the_canary_without_a_rejection():
    scene = rolling().asks("v1").run()
    assert (scene.stable, scene.canary, scene.rejected, scene.weight) == ("v1", None, None, 0)
    assert scene.asks("v2").run().canary == "v2"


def test_a_withdrawn_canary_loses_its_weight_while_gateways_are_silent():
    scene = rolling().gateways_are_silent().asks("v1")
    scene.step()
    assert [(entry.name, entry.weight) for entry in scene.route.revisions] == [("v1", 100)]
