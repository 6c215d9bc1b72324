"""A canary that spends its share of the day's budget, and pods that wait for their store."""

from __future__ import annotations

import pytest

from tests.support.scene import Scene, analysis, analyze, pause, rolling, rollout_of, weight

STEPS = (weight(10), pause(), weight(50), analyze())
TOMORROW = "2030-01-02"


def at_pause() -> Scene:
    return rolling(plan=rollout_of(*STEPS))


def overspent() -> Scene:
    return at_pause().canary_spends(20).run()


def test_a_canary_that_spent_its_share_gets_nothing_new_and_says_why():
    scene = overspent()
    assert (scene.canary, scene.weight, scene.index) == ("v2", 0, 1)
    assert scene.reasons[-1] == "CanaryBudgetExhausted"
    assert "its share of the day's budget" in scene.waiting


def test_one_micro_dollar_below_the_share_nothing_happens():
    assert at_pause().canary_spends(19).run().weight == 10


def test_without_a_daily_budget_there_is_no_share():
    assert at_pause().canary_spends(10**9, share=None).run().weight == 10


def test_while_nobody_knows_what_is_spent_a_rollout_goes_on_and_a_hold_stays():
    assert at_pause().weight == 10
    scene = overspent()
    scene.canary_spend = None
    assert scene.run().weight == 0


def test_it_does_not_wait_for_gateways_or_pods_and_not_for_the_spec():
    scene = at_pause().gateways_are_silent().is_starting("v2")
    scene.paused = True
    assert scene.canary_spends(20).run().weight == 0


def test_on_the_next_day_it_goes_on_at_the_weight_of_its_step():
    scene = overspent().canary_spends(0, day=TOMORROW).run()
    assert (scene.weight, scene.index) == (10, 1)
    assert scene.reasons[-1] == "CanaryBudgetResumed"
    assert scene.route.rollout.budget_hold is None


def test_a_raised_budget_lets_it_go_on_at_once():
    assert overspent().canary_spends(20, share=40).run().weight == 10


def test_on_a_next_day_that_is_spent_too_it_stays():
    scene = overspent().canary_spends(30, day=TOMORROW).run()
    assert (scene.weight, scene.route.rollout.budget_hold.day) == (0, TOMORROW)


@pytest.mark.parametrize("verb", ["promote", "retry"])
def test_a_person_lets_it_go_on_for_the_rest_of_the_day(verb):
    scene = overspent().types(verb).run()
    assert scene.answer[0] == "Done"
    assert (scene.weight, scene.index) == (10, 1)
    assert scene.canary_spends(90).run().weight == 10
    assert scene.canary_spends(90, day=TOMORROW).run().weight == 0


def test_promote_lets_it_go_on_before_it_passes_a_step():
    scene = overspent().types("promote").run()
    assert scene.index == 1
    assert scene.types("promote").run().weight == 50


def test_it_does_not_go_on_while_its_pods_are_away_or_the_spec_is_paused():
    scene = overspent().is_starting("v2").types("promote").run()
    assert scene.weight == 0
    scene.is_ready("v2")
    scene.paused = True
    assert scene.run().weight == 0
    scene.paused = False
    assert scene.run().weight == 10


def test_promote_full_and_abort_still_work():
    assert overspent().types("promote-full").run().stable == "v2"
    scene = overspent().types("abort").run()
    assert (scene.canary, scene.route.rollout.budget_hold) == (None, None)


def test_the_next_rollout_begins_without_the_hold():
    scene = overspent().asks("v3").is_ready("v3")
    scene.canary_spend = None
    scene.run()
    assert (scene.canary, scene.weight, scene.route.rollout.budget_hold) == ("v3", 10, None)


def test_a_canary_that_serves_nothing_yet_is_not_held_for_what_another_spent():
    scene = rolling(plan=rollout_of(pause(), weight(10))).canary_spends(99).run()
    assert scene.route.rollout.budget_hold is None


def test_a_canary_is_still_taken_back_when_its_pods_crash():
    assert overspent().is_broken("v2").run().rejected == "v2"


# The store.


def awaiting(seconds: float) -> Scene:
    scene = Scene(plan=rollout_of(*STEPS, progressDeadline="1m")).asks("v2").waits_for_store("v2").run()
    return scene.passes(seconds).run()


def test_no_deadline_runs_while_pods_wait_for_their_store():
    scene = awaiting(7200)
    assert (scene.canary, scene.rejected) == ("v2", None)
    assert "no store" in scene.waiting


def test_the_deadline_begins_anew_when_the_store_was_reached():
    scene = awaiting(7200).is_starting("v2").run().passes(59).run()
    assert scene.canary == "v2"
    assert scene.passes(2).run().rejected == "v2"


def test_while_it_waits_the_route_is_written_once():
    scene = awaiting(0)
    before = len(scene.states)
    for _ in range(50):
        scene.passes(60).run()
    assert len(scene.states) == before


def test_a_first_revision_that_waits_for_its_store_is_not_overdue():
    scene = Scene(plan=rollout_of(progressDeadline="1m"), health={}, ever_available=set())
    scene.route = scene.route.model_copy(
        update={"rollout": scene.route.rollout.model_copy(update={"stable_available": False, "progress_at": scene.now})}
    )
    scene.waits_for_store("v1").run().passes(3600).run()
    assert scene.last is not None
    assert not scene.last.overdue
    assert scene.is_ready("v1").run().route.rollout.stable_available


def test_the_clock_of_an_analysis_does_not_run_while_the_canary_is_held():
    judged = analysis(max_duration="1h")
    scene = rolling(plan=rollout_of(weight(10), analyze(), weight(50), judged=judged)).serve(canary=(5, 0)).run()
    scene.canary_spends(20).run().passes(7200).canary_spends(0, day=TOMORROW).run()
    assert (scene.weight, scene.index) == (10, 1)
    assert scene.passes(3500).run().route.rollout.analysis.inconclusive is False
