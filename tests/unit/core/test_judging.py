"""Which requests count, in which slot, and that none is read twice or lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from agent_api.v1alpha1.rollout import Analysis, AnalysisMetric, MetricName
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_operator.core import judging, routing
from agent_operator.core.analysis.state import from_state
from tests.support.scene import START, Scene, analysis, observed, rolling, slot

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


def test_requests_and_failures_of_both_revisions_are_added_up_over_pods():
    route = read(
        canary_at_10(),
        observed(slot("v1", T0, 30, 1), settled_until=T0 + 5, instance="a"),
        observed(slot("v2", T0, 10, 2), settled_until=T0 + 5, instance="b"),
        observed(slot("v2", T0, 7, 3, failed=("x", "y", "z")), settled_until=T0 + 5, instance="gateway"),
    )
    assert totals(route) == ((30, 1), (17, 5))
    assert route.rollout.analysis.step_conversations == 17
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
        slot("v2", T0 + 5, 3, failed=("q",), failures=1),
        settled_until=T0 + 10,
    )
    assert totals(read(scene, later, route=once)) == ((10, 0), (13, 1))


def test_a_pod_that_fell_behind_is_not_read_backwards():
    scene = canary_at_10()
    once = read(scene, observed(slot("v2", T0, 10), slot("v2", T0 + 5, 10), settled_until=T0 + 10))
    assert read(scene, observed(slot("v2", T0, 10), slot("v2", T0 + 5, 99), settled_until=T0 + 5), route=once) is once


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


def test_a_conversation_counts_up_to_its_first_failure_over_slots():
    scene = canary_at_10()
    first = observed(slot("v2", T0, 10, 1, failed=("c",)), settled_until=T0 + 5)
    then = observed(slot("v2", T0 + 5, 10, 2, failed=("c", "d"), conversations=8), settled_until=T0 + 10)
    route = read(scene, then, route=read(scene, first))
    assert totals(route)[1] == (19, 2)
    assert route.rollout.analysis.failed_conversations == ("c", "d")
    assert route.rollout.analysis.step_conversations == 18


def test_a_conversation_counts_up_to_its_first_failure_over_pods():
    scene = canary_at_10()
    pod = observed(slot("v2", T0, 10, 1, failed=("c",)), settled_until=T0 + 5, instance="a")
    gateway = observed(slot("v2", T0, 1, 1, failed=("c",)), settled_until=T0 + 5, instance="b")
    assert totals(read(scene, pod, gateway))[1] == (10, 1)


def test_a_conversation_counts_up_to_its_first_failure_within_a_slot():
    answer = observed(slot("v2", T0, 10, 3, failed=("c", "c", "c")), settled_until=T0 + 5)
    assert totals(read(canary_at_10(), answer))[1] == (8, 1)


def test_failures_without_a_hash_count():
    answer = observed(slot("v2", T0, 10, 3, failed=()), settled_until=T0 + 5)
    assert totals(read(canary_at_10(), answer))[1] == (10, 3)


def test_failed_conversations_are_bounded_and_the_oldest_stay():
    scene = canary_at_10()
    slots = [slot("v2", T0 + 5 * n, 200, 200, failed=tuple(f"{n}-{i}" for i in range(200))) for n in range(6)]
    route = read(scene, observed(*slots, settled_until=T0 + 60))
    names = route.rollout.analysis.failed_conversations
    assert (len(names), names[0], names[-1]) == (1000, "0-0", "4-199")


@pytest.mark.parametrize(
    "nonsense",
    [
        slot("v2", T0, 1, 5, failed=()),
        slot("v2", T0, 5, 1, failed=("a", "b")),
        slot("v2", T0, 5, conversations=6),
        slot("v2", T0, 10**30),
        slot("v2", T0, 5, 1, failed=("x" * 17,)),
    ],
    ids=["more failures", "more hashes", "more conversations", "too many", "too long a hash"],
)
def test_counts_that_do_not_fit_together_are_left_out(nonsense):
    good = slot("v2", T0 + 5, 1_000_000, 1, failed=("x" * 16,))
    route = read(canary_at_10(), observed(nonsense, good, settled_until=T0 + 10))
    assert totals(route)[1] == (1_000_000, 1)


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
        slot("v1", T0 - 100, 200, 20, epoch=0), slot("v2", T0 - 100, 50, 50, epoch=0), slot("v2", T0, 4),
        settled_until=T0 + 5,
    )  # fmt: skip
    route = read(scene, answer)
    evidence = from_state(route.rollout.analysis.evidence[ERROR_RATE])
    assert evidence.history_mean == pytest.approx(0.1)
    assert totals(route) == ((0, 0), (4, 0))


def test_without_history_none_is_made_up():
    route = read(canary_at_10(), observed(slot("v2", T0, 4), settled_until=T0 + 5))
    assert from_state(route.rollout.analysis.evidence[ERROR_RATE]).history_mean is None


def test_the_ledger_begins_at_the_rollout_and_its_clock_now():
    scene = canary_at_10().passes(42)
    route = read(scene, observed(slot("v2", T0 + 40, 4), settled_until=T0 + 45))
    assert route.rollout.analysis.started_at == scene.now
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
            scene.serve(canary=(20, 3), stable=(20, 0))
        return scene.run().rejected

    assert verdict("0.02") == "v2"
    assert verdict("0.5") is None


def test_a_metric_that_does_not_gate_holds_nothing_up_but_still_fails():
    metric = AnalysisMetric(name=MetricName.ERROR_RATE, gating=False)
    scene = canary_at_10()
    scene.with_steps(*scene.plan.canary.steps, judged=Analysis(metrics=[metric])).run()
    assert scene.serve_badly().run().rejected == "v2"


# The begin of steps.


def test_a_new_step_keeps_the_evidence_and_counts_anew():
    scene = canary_at_10().serve(canary=(30, 1), stable=(30, 0)).run()
    ledger = scene.route.rollout.analysis
    renewed = judging.renew(ledger.model_copy(update={"inconclusive": True}), scene.now)
    before, after = from_state(ledger.evidence[ERROR_RATE]), from_state(renewed.evidence[ERROR_RATE])
    assert (after.fail_wealth, after.total) == (before.fail_wealth, before.total)
    assert (after.step.canary_requests, renewed.step_conversations, renewed.inconclusive) == (0, 0, False)
    assert (renewed.started_at, renewed.read_until) == (scene.now, ledger.read_until)
    assert renewed.failed_conversations == ledger.failed_conversations != ()


def test_an_analysis_begun_anew_keeps_what_was_read_and_what_is_known_of_stable():
    scene = canary_at_10().serve(canary=(30, 1), stable=(60, 6)).run()
    ledger = scene.route.rollout.analysis
    anew = judging.restart(ledger, scene.now)
    before, after = from_state(ledger.evidence[ERROR_RATE]), from_state(anew.evidence[ERROR_RATE])
    assert (after.total.canary_requests, after.pass_peak) == (0, 0.0)
    assert (after.baseline, after.history_mean) == (before.baseline, before.history_mean)
    assert (anew.read_until, anew.failed_conversations) == (ledger.read_until, ledger.failed_conversations)
    assert (anew.step_conversations, anew.inconclusive, anew.started_at) == (0, False, scene.now)


def test_without_an_analysis_there_is_nothing_to_begin_anew():
    assert judging.renew(None, START) is None
    assert judging.restart(None, START) is None
