"""Which requests count, in which slot, and that none is read twice or lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_api.observations import Slot, UnitState
from agent_api.v1alpha1.rollout import Analysis, AnalysisMetric, MetricName, Stickiness
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_operator.core import judging, routing
from agent_operator.core.analysis.state import from_state
from agent_operator.core.units import Question
from tests.support.scene import (
    START,
    Scene,
    analysis,
    analyze,
    observed,
    older_slot,
    rolling,
    rollout_of,
    slot,
    unit,
    units_slot,
    weight,
)

T0 = int(START.timestamp())
ERROR_RATE = MetricName.ERROR_RATE.value


def canary_at_10(**facts) -> Scene:
    return rolling(**facts)


def read(scene: Scene, *observations, route: AgentRouteSpec | None = None, complete: bool = True) -> AgentRouteSpec:
    seen = replace(scene.seen(), observations=observations, complete=complete)
    return judging.read(route or scene.route, seen, scene.now)


def totals(route: AgentRouteSpec) -> tuple[tuple[int, float], tuple[int, float]]:
    """Requests and failures of stable, and of the canary."""
    total = from_state(route.rollout.analysis.evidence[ERROR_RATE]).total
    return (total.stable_requests, total.stable_total), (total.canary_requests, total.canary_total)


def test_conversations_and_failures_of_both_revisions_are_added_up_over_pods():
    route = read(
        canary_at_10(),
        observed(slot("v1", T0, 30, 1), settled_until=T0 + 5, instance="a"),
        observed(slot("v2", T0, 10, 2), settled_until=T0 + 5, instance="b"),
        observed(
            units_slot("v2", T0, *(unit(name, UnitState.FAILED) for name in "xyz")),
            settled_until=T0 + 5,
            instance="gateway",
        ),
    )
    assert totals(route) == ((30, 1), (13, 5))
    assert route.rollout.analysis.read_until == T0 + 5


def test_a_slot_is_read_only_when_every_pod_has_settled_it():
    scene = canary_at_10()
    early = observed(slot("v1", T0, 10), slot("v1", T0 + 5, 10), settled_until=T0 + 10, instance="a")
    late = observed(slot("v2", T0, 10), slot("v2", T0 + 5, 10), settled_until=T0 + 9, instance="b")
    assert totals(read(scene, early, late)) == ((10, 0), (10, 0))


def test_a_slot_is_never_read_twice():
    scene = canary_at_10()
    answer = observed(slot("v1", T0, 10), slot("v2", T0, 10), settled_until=T0 + 5)
    once = read(scene, answer)
    assert read(scene, answer, route=once) is once
    later = observed(
        slot("v1", T0, 10),
        slot("v2", T0, 10),
        slot("v2", T0 + 5, 3, failures=1),
        settled_until=T0 + 10,
    )
    assert totals(read(scene, later, route=once)) == ((10, 0), (13, 1))


def test_a_pod_that_fell_behind_is_not_read_backwards():
    scene = canary_at_10()
    once = read(scene, observed(slot("v2", T0, 10), slot("v2", T0 + 5, 10), settled_until=T0 + 10))
    assert read(scene, observed(slot("v2", T0, 10), slot("v2", T0 + 5, 60), settled_until=T0 + 5), route=once) is once


def test_a_pod_that_was_started_anew_begins_a_new_count_and_doubles_nothing():
    scene = canary_at_10()
    once = read(scene, observed(slot("v2", T0, 10), settled_until=T0 + 5))
    anew = observed(slot("v2", T0 + 5, 4), settled_until=T0 + 10, since=T0 + 5)
    assert totals(read(scene, anew, route=once))[1] == (14, 0)


@pytest.mark.parametrize("epoch", [0, 2])
def test_only_conversations_begun_in_this_epoch_count(epoch):
    scene = canary_at_10()
    answer = observed(slot("v1", T0, 10, epoch=epoch), slot("v2", T0, 4), settled_until=T0 + 5)
    assert totals(read(scene, answer)) == ((0, 0), (4, 0))


def test_other_revisions_do_not_count():
    answer = observed(slot("v0", T0, 10, 5), slot("v2", T0, 4), settled_until=T0 + 5)
    assert totals(read(canary_at_10(), answer)) == ((0, 0), (4, 0))


def test_nothing_of_before_the_rollout_counts():
    scene = canary_at_10()
    answer = observed(slot("v2", T0 - 5, 10), slot("v2", T0, 4), settled_until=T0 + 5)
    assert totals(read(scene, answer))[1] == (4, 0)


@pytest.mark.parametrize("complete", [False])
def test_incomplete_answers_are_not_read(complete):
    scene = canary_at_10()
    answer = observed(slot("v2", T0, 10), settled_until=T0 + 5)
    assert read(scene, answer, complete=complete) is scene.route
    assert read(scene) is scene.route


def test_without_a_canary_nothing_is_read():
    scene = Scene()
    assert read(scene, observed(slot("v1", T0, 10, epoch=0), settled_until=T0 + 5)) is scene.route


# What counts, and how often.


def asked(route: AgentRouteSpec, question: Question) -> tuple[int, float]:
    """Units of the canary that answered a question, and how many said yes."""
    total = from_state(route.rollout.analysis.evidence[question]).total
    return total.canary_requests, total.canary_total


def canary_slots(*slots: Slot) -> AgentRouteSpec:
    """What is read of these slots of the canary, all settled."""
    return read(canary_at_10(), observed(*slots, settled_until=T0 + 5 * len(slots)))


@pytest.mark.parametrize(
    ("state", "failed", "unanswered"),
    [
        (UnitState.OK, (1, 0), (1, 0)),
        (UnitState.FAILED, (1, 1), (1, 0)),
        (UnitState.UNANSWERED, (1, 1), (1, 1)),
        (UnitState.LEFT, (0, 0), (1, 1)),
    ],
)
def test_each_state_answers_each_question(state, failed, unanswered):
    route = canary_slots(units_slot("v2", T0, unit("c", state)))
    assert asked(route, Question.FIRST) == failed
    assert asked(route, Question.UNANSWERED) == unanswered


def test_a_chatty_conversation_counts_once_with_its_first_turn_and_once_with_a_later_one():
    turns = (units_slot("v2", T0 + 5 * n, unit("c", UnitState.FAILED, begins=False)) for n in range(1, 20))
    route = canary_slots(units_slot("v2", T0, unit("c")), *turns)
    assert asked(route, Question.FIRST) == (1, 0)
    assert asked(route, Question.LATER) == (1, 1)


def test_a_user_counts_once_with_his_first_run_and_once_with_a_later_one():
    runs = (units_slot("v2", T0 + 5 * n, unit("u", UnitState.FAILED, by_user=True)) for n in range(20))
    route = canary_slots(*runs)
    assert asked(route, Question.FIRST) == (1, 1)
    assert asked(route, Question.LATER) == (1, 1)


def test_a_user_who_moves_to_the_canary_is_no_new_user_there():
    route = canary_slots(
        units_slot("v1", T0, unit("u", by_user=True)), units_slot("v2", T0 + 5, unit("u", by_user=True))
    )
    assert totals(route) == ((1, 0), (0, 0))
    assert asked(route, Question.LATER) == (1, 0)


def test_who_counted_is_remembered_over_the_write_of_the_ledger():
    scene = canary_at_10()
    first, again = (
        observed(units_slot("v2", T0 + at, unit("u", by_user=True)), settled_until=T0 + at + 5) for at in (0, 5)
    )
    written = read(scene, first).model_dump(mode="json", by_alias=True, exclude_none=True)
    route = read(scene, again, route=AgentRouteSpec.model_validate(written))
    assert asked(route, Question.FIRST) == (1, 0)


def test_a_unit_that_two_pods_saw_counts_once_with_the_run_that_started_first():
    scene = canary_at_10()
    late = units_slot("v2", T0, unit("c", UnitState.FAILED, offset_ms=900))
    early = units_slot("v2", T0, unit("c", begins=False, offset_ms=100))
    for pods in ((late, early), (early, late)):
        answers = (observed(pod, settled_until=T0 + 5, instance=str(n)) for n, pod in enumerate(pods))
        assert asked(read(scene, *answers), Question.FIRST) == (1, 0)


def test_units_that_one_pod_left_out_count_nowhere():
    names = sorted((unit(str(n)) for n in range(20)), key=lambda turn: turn.name)
    some = units_slot("v2", T0, *names[:5], below=names[10].name)
    all_of_them = units_slot("v2", T0, *names[5:])
    route = read(canary_at_10(), *(observed(pod, settled_until=T0 + 5) for pod in (some, all_of_them)))
    assert asked(route, Question.FIRST) == (10, 0)


def test_requests_of_pods_that_know_no_units_count_one_by_one():
    route = canary_slots(older_slot("v2", T0, 10, 3))
    assert asked(route, Question.FIRST) == (10, 3)
    assert asked(route, Question.LATER) == asked(route, Question.UNANSWERED) == (0, 0)


@pytest.mark.parametrize(
    "nonsense",
    [older_slot("v2", T0, 1, 5), older_slot("v2", T0, 10**30)],
    ids=["more failures", "too many"],
)
def test_counts_that_do_not_fit_together_are_left_out(nonsense):
    assert totals(canary_slots(nonsense, older_slot("v2", T0 + 5, 1_000_000, 1)))[1] == (1_000_000, 1)


def test_empty_slots_are_no_news():
    scene = canary_at_10()
    assert read(scene, observed(slot("v2", T0, 0), settled_until=T0 + 5)) is scene.route


@pytest.mark.parametrize(("silence", "noted"), [(900, False), (905, True)])
def test_a_long_silence_is_noted_before_pods_forget(silence, noted):
    scene = canary_at_10()
    once = read(scene, observed(slot("v2", T0, 1), settled_until=T0 + 5))
    again = read(scene, observed(settled_until=T0 + 5 + silence), route=once)
    assert (again is not once) is noted
    if noted:
        assert again.rollout.analysis.read_until == T0 + 5 + silence
        assert totals(again) == totals(once)


def test_stable_before_the_rollout_shapes_the_bets_and_is_compared_with_nothing():
    scene = canary_at_10()
    answer = observed(
        older_slot("v1", T0 - 100, 200, 20, epoch=0),
        older_slot("v2", T0 - 100, 50, 50, epoch=0),
        slot("v2", T0, 4),
        settled_until=T0 + 5,
    )
    route = read(scene, answer)
    evidence = from_state(route.rollout.analysis.evidence[ERROR_RATE])
    assert evidence.history_mean == pytest.approx(0.1)
    assert totals(route) == ((0, 0), (4, 0))


def test_without_history_none_is_made_up():
    route = read(canary_at_10(), observed(slot("v2", T0, 4), settled_until=T0 + 5))
    assert from_state(route.rollout.analysis.evidence[ERROR_RATE]).history_mean is None


def test_the_ledger_begins_at_the_rollout_and_its_clock_with_the_step():
    scene = canary_at_10().passes(42)
    route = read(scene, observed(slot("v2", T0 + 40, 4), settled_until=T0 + 45))
    assert route.rollout.analysis.started_at == START
    ledger = judging.first_ledger(scene.route, scene.seen(), scene.now)
    assert ledger.read_until == T0


def test_slots_are_read_in_the_order_of_their_time_whatever_the_order_of_the_answer():
    scene = canary_at_10()
    slots = [slot(name, T0 + 5 * n, 10 + n, n % 3) for n in range(5) for name in ("v1", "v2")]
    forth = read(scene, observed(*slots, settled_until=T0 + 30))
    back = read(scene, observed(*reversed(slots), settled_until=T0 + 30))
    assert forth.rollout.analysis.evidence == back.rollout.analysis.evidence


def test_reading_in_pieces_gives_what_reading_at_once_gives():
    scene = canary_at_10()
    slots = [slot(name, T0 + 5 * n, 10 + n, n % 3) for n in range(6) for name in ("v1", "v2")]
    whole = read(scene, observed(*slots, settled_until=T0 + 30))
    route = scene.route
    for settled in range(T0, T0 + 31, 5):
        written = read(scene, observed(*slots, settled_until=settled), route=route)
        route = AgentRouteSpec.model_validate(written.model_dump(mode="json", by_alias=True, exclude_none=True))
    assert route == whole


# Judging.


def test_before_anything_was_read_there_is_no_judgement():
    scene = canary_at_10()
    assert judging.judge(scene.route, scene.seen(), scene.now) is None


def test_evidence_of_another_version_begins_anew():
    scene = canary_at_10().serve(canary=(30, 0), stable=(30, 0)).run()
    damaged = scene.route.rollout.analysis.model_copy(update={"evidence": {ERROR_RATE: "{}"}})
    scene.route = routing.edit_ledger(scene.route, analysis=damaged)
    judgement = judging.judge(scene.route, scene.seen(), scene.now)
    assert judgement.metrics[0].canary_requests == 0
    assert judging.renew(damaged, scene.now).evidence[ERROR_RATE] != "{}"


def test_max_duration_counts_from_the_begin_of_the_step():
    scene = canary_at_10().serve(canary=(3, 0), stable=(3, 0)).run()
    began = scene.route.rollout.analysis.started_at
    seen = scene.seen()
    for elapsed, verdict in ((3599, "InsufficientData"), (3600, "Inconclusive")):
        judged = judging.judge(scene.route, seen, began + timedelta(seconds=elapsed))
        assert judged.verdict.value == verdict


@pytest.mark.parametrize(("text", "increase"), [("0", 0.0), ("0.02", 0.02), ("0.99", 0.99), ("1", 0.99)])
def test_margins_stay_below_one(text, increase):
    assert judging.margin_of(AnalysisMetric(name=MetricName.ERROR_RATE, max_increase=text)).increase == increase


def test_a_wider_margin_forgives_more():
    def verdict(max_increase: str) -> str:
        scene = canary_at_10()
        scene.with_steps(*scene.plan.canary.steps, judged=analysis(max_increase=max_increase)).run()
        for _ in range(20):
            scene.serve(canary=(20, 4), stable=(20, 0))
        return scene.run().rejected

    assert verdict("0.02") == "v2"
    assert verdict("0.5") is None


def test_a_metric_that_does_not_gate_holds_nothing_up_but_still_fails():
    metric = AnalysisMetric(name=MetricName.ERROR_RATE, gating=False)
    scene = canary_at_10()
    scene.with_steps(*scene.plan.canary.steps, judged=Analysis(metrics=[metric])).run()
    assert scene.serve_badly().run().rejected == "v2"


# A look ahead of what is settled.


def held_scene(**facts) -> Scene:
    """A canary at 50 % while a run of five minutes is in flight."""
    scene = rolling(plan=rollout_of(weight(50), analyze()), **facts)
    return scene.is_held_at(T0)


def test_a_canary_that_fails_is_taken_back_though_a_run_of_then_is_in_flight():
    scene = held_scene()
    failed = 0
    while scene.rejected is None and failed < 100:
        scene.serve(canary=(5, 5), stable=(5, 0)).run()
        failed += 5
    assert failed <= 10
    assert scene.route.rollout.last_rollback.reason == "AnalysisFailed"


def test_runs_in_flight_are_taken_as_stables_failures_and_the_canarys_successes():
    scene = held_scene()
    for number in range(40):
        start = T0 + 5 * number
        scene.slots += [
            units_slot("v2", start, *(unit(f"c{number}{n}", UnitState.RUNNING) for n in range(5))),
            units_slot("v1", start, *(unit(f"s{number}{n}") for n in range(5))),
        ]
        scene.passes(5).run()
    assert scene.canary == "v2"
    ended = [turn.model_copy(update={"state": UnitState.FAILED}) for turn in scene.slots[0].units]
    scene.slots[0] = units_slot("v2", T0, *ended)
    assert scene.run().rejected == "v2"


def test_stables_runs_in_flight_hide_that_the_canary_is_worse():
    scene = held_scene()
    for number in range(10):
        start = T0 + 5 * number
        scene.slots += [
            units_slot("v2", start, *(unit(f"c{number}{n}", UnitState.FAILED) for n in range(5))),
            units_slot("v1", start, *(unit(f"s{number}{n}", UnitState.RUNNING) for n in range(5))),
        ]
        scene.passes(5).run()
    assert scene.canary == "v2"


def test_what_has_begun_since_does_not_hide_what_has_ended():
    scene = held_scene().serve(canary=(12, 12), stable=(12, 0))
    start = T0 + 5
    scene.slots += [units_slot("v1", start, *(unit(f"s{n}", UnitState.RUNNING) for n in range(60)))]
    scene.slots += [units_slot("v2", start, *(unit(f"c{n}", UnitState.RUNNING) for n in range(60)))]
    assert scene.passes(5).run().rejected == "v2"


def test_a_look_ahead_never_passes_and_is_never_stored():
    scene = held_scene().serve_well().run()
    assert (scene.canary, scene.index) == ("v2", 1)
    assert scene.route.rollout.analysis is None


@pytest.mark.parametrize("state", [UnitState.SILENT, UnitState.LEFT, UnitState.UNANSWERED])
def test_a_canary_that_answers_nobody_is_taken_back(state):
    scene = held_scene()
    for number in range(8):
        start = T0 + 5 * number
        scene.slots += [
            units_slot("v2", start, *(unit(f"c{number}{n}", state) for n in range(3))),
            units_slot("v1", start, *(unit(f"s{number}{n}") for n in range(3))),
        ]
        scene.passes(5).run()
    assert scene.rejected == "v2"


def test_a_canary_that_breaks_with_a_history_is_taken_back():
    scene = rolling(plan=rollout_of(weight(50), analyze()))
    for number in range(10):
        start = T0 + 5 * number
        for name, state in (("v1", UnitState.OK), ("v2", UnitState.FAILED)):
            begun = (unit(f"{name}{number}{n}") for n in range(6))
            later = (unit(f"{name}{number - 1}{n}", state, begins=False) for n in range(6) if number)
            scene.slots.append(units_slot(name, start, *begun, *later))
        scene.passes(5).run()
    assert scene.rejected == "v2"
    assert scene.route.rollout.rejected.message.startswith("laterErrorRate: canary 100.0 %")


def test_verdicts_call_what_they_count_by_its_name():
    users = rolling(plan=rollout_of(weight(50), analyze(), stickiness=Stickiness.USER)).serve_badly(3).run()
    assert "users" in users.route.rollout.rejected.message
    assert "conversations" in rolling().serve_badly(3).run().route.rollout.rejected.message


@pytest.mark.parametrize(("age", "told"), [(29, None), (30, 30), (61, 60), (3600, 3600)])
def test_how_far_the_evidence_is_behind_is_told_in_steps(age, told):
    scene = held_scene().passes(age)
    assert judging.behind_seconds(scene.route, scene.seen(), scene.now) == told


def test_nobody_knows_how_far_behind_while_pods_do_not_answer():
    scene = held_scene(complete=False).passes(100)
    assert judging.behind_seconds(scene.route, scene.seen(), scene.now) is None
    assert judging.ahead(scene.route, scene.seen(), scene.now) is None


# The begin of steps.


def test_a_new_step_keeps_the_evidence_and_counts_anew():
    scene = canary_at_10().serve(canary=(30, 1), stable=(30, 0)).run()
    ledger = scene.route.rollout.analysis
    renewed = judging.renew(ledger.model_copy(update={"inconclusive": True}), scene.now)
    before, after = from_state(ledger.evidence[ERROR_RATE]), from_state(renewed.evidence[ERROR_RATE])
    assert (after.fail_wealth, after.total) == (before.fail_wealth, before.total)
    assert (after.step.canary_requests, renewed.inconclusive) == (0, False)
    assert (renewed.started_at, renewed.read_until) == (scene.now, ledger.read_until)


def test_an_analysis_begun_anew_keeps_what_was_read_and_what_is_known_of_stable():
    scene = canary_at_10().serve(canary=(30, 1), stable=(60, 6)).run()
    ledger = scene.route.rollout.analysis
    anew = judging.restart(ledger, scene.now)
    before, after = from_state(ledger.evidence[ERROR_RATE]), from_state(anew.evidence[ERROR_RATE])
    assert (after.total.canary_requests, after.pass_peak) == (0, 0.0)
    assert (after.baseline, after.history_mean) == (before.baseline, before.history_mean)
    assert (anew.read_until, anew.users, anew.later) == (ledger.read_until, ledger.users, ledger.later)
    assert (anew.inconclusive, anew.started_at) == (False, scene.now)


def test_without_an_analysis_there_is_nothing_to_begin_anew():
    assert judging.renew(None, START) is None
    assert judging.restart(None, START) is None
