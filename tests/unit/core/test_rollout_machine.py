"""The rollout under everything at once: any order of edits, pods, gateways, time, observations, verbs and restarts.

`tests.support.invariants` is checked in every transition; two engines run side by side, one of which loses its memory
and reads its route back from JSON after every decision, as an operator that crashes after each write.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent_api.v1alpha1.rollout import OnInconclusive, Stickiness
from agent_operator.core import routing
from agent_operator.core.engine.gates import advance
from agent_operator.core.facts import Command
from tests.support.invariants import duties
from tests.support.scene import PORT, START, Scene, analysis, analyze, pause, rollout_of, weight

REVISIONS = ("v1", "v2", "v3", "v4")
VERBS = ("promote", "promote-full", "abort", "retry", "undo", "nonsense")
PLANS = (
    (weight(10), analyze(), weight(50), analyze()),
    (weight(5), pause("1m"), weight(20), pause(), weight(100), pause("30s")),
    (pause(), weight(30), weight(60)),
    (),
)
POLICIES = st.sampled_from(OnInconclusive)


def plan_of(steps: int, policy: OnInconclusive, stickiness: Stickiness = Stickiness.CONVERSATION):
    judged = analysis(min_samples=20, max_duration="5m", on_inconclusive=policy)
    return rollout_of(
        *PLANS[steps], judged=judged, stickiness=stickiness, progressDeadline="2m", conversationDrain="3m"
    )


class RolloutMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.scenes: tuple[Scene, ...] = ()
        self.numbers = 0

    @initialize(steps=st.integers(0, 3), policy=POLICIES)
    def make(self, steps: int, policy: OnInconclusive) -> None:
        self.scenes = tuple(
            Scene(
                route=routing.first_route(PORT, "v1", START),
                plan=plan_of(steps, policy),
                health={},
                ever_available=set(),
                gateways_follow=False,
                through_json=through_json,
            )
            for through_json in (False, True)
        )

    def each(self, change: Callable[[Scene], object]) -> None:
        for scene in self.scenes:
            change(scene)
            scene.run()

    @rule(name=st.sampled_from(REVISIONS))
    def spec_is_edited(self, name: str) -> None:
        self.each(lambda scene: scene.asks(name))

    @rule(name=st.sampled_from(REVISIONS))
    def pods_become_ready(self, name: str) -> None:
        self.each(lambda scene: scene.is_ready(name))

    @rule()
    def everything_is_well(self) -> None:
        def mend(scene: Scene) -> None:
            for entry in scene.route.revisions:
                scene.is_ready(entry.name)
            scene.gateways_acknowledge()

        for _ in range(3):
            self.each(mend)

    @rule(name=st.sampled_from(REVISIONS))
    def pods_crash(self, name: str) -> None:
        self.each(lambda scene: scene.is_broken(name))

    @rule(name=st.sampled_from(REVISIONS), ready=st.integers(0, 1))
    def pods_are_lost(self, name: str, ready: int) -> None:
        self.each(lambda scene: scene.is_starting(name, ready))

    @rule()
    def gateways_acknowledge(self) -> None:
        self.each(lambda scene: scene.gateways_acknowledge())

    @rule(seconds=st.sampled_from((1, 19, 25, 61, 130, 400)))
    def time_passes(self, seconds: int) -> None:
        self.each(lambda scene: scene.passes(seconds))

    @precondition(lambda self: self.scenes and self.scenes[0].weight > 0)
    @rule(canary_failures=st.sampled_from((0, 0, 0, 12)), slots=st.integers(1, 12), complete=st.booleans())
    def requests_are_served(self, canary_failures: int, slots: int, complete: bool) -> None:
        def serve(scene: Scene) -> None:
            scene.complete = complete
            for _ in range(slots):
                scene.serve(canary=(20, canary_failures), stable=(20, 0))

        self.each(serve)

    @rule(spent=st.sampled_from((0, 19, 20, 50)), day=st.sampled_from(("2030-01-01", "2030-01-02")))
    def the_canary_spends(self, spent: int, day: str) -> None:
        self.each(lambda scene: scene.canary_spends(spent, day=day))

    @rule()
    def nobody_knows_what_is_spent(self) -> None:
        self.each(lambda scene: setattr(scene, "canary_spend", None))

    @rule(name=st.sampled_from(REVISIONS))
    def pods_wait_for_their_store(self, name: str) -> None:
        self.each(lambda scene: scene.waits_for_store(name))

    @rule(verb=st.sampled_from(VERBS))
    def a_verb_is_typed(self, verb: str) -> None:
        self.numbers += 1
        command = Command(verb, str(self.numbers))
        self.each(lambda scene: setattr(scene, "command", command))

    @rule(paused=st.booleans())
    def spec_is_paused(self, paused: bool) -> None:
        self.each(lambda scene: setattr(scene, "paused", paused))

    @rule(suspended=st.booleans())
    def spec_is_suspended(self, suspended: bool) -> None:
        self.each(lambda scene: setattr(scene, "suspended", suspended))

    @rule(steps=st.integers(0, 3), policy=POLICIES, stickiness=st.sampled_from(Stickiness))
    def steps_are_edited(self, steps: int, policy: OnInconclusive, stickiness: Stickiness) -> None:
        self.each(lambda scene: setattr(scene, "plan", plan_of(steps, policy, stickiness)))

    @rule(replicas=st.sampled_from((0, 1, 2)))
    def it_is_scaled(self, replicas: int) -> None:
        self.each(lambda scene: setattr(scene, "replicas", replicas))

    @invariant()
    def restarts_change_nothing(self) -> None:
        if self.scenes:
            plain, restarted = self.scenes
            assert plain.route == restarted.route
            assert plain.notes == restarted.notes
            assert list(map(duties, plain.states)) == list(map(duties, restarted.states))

    @invariant()
    def a_decision_is_repeatable(self) -> None:
        for scene in self.scenes[:1]:
            again = advance(scene.route, scene.seen(), scene.now)
            assert again.route == scene.route
            assert again.notes == ()

    @invariant()
    def somebody_looks_again_while_gateways_count_on_it(self) -> None:
        for scene in self.scenes[:1]:
            if 0 < scene.weight < 100 and scene.last is not None:
                assert scene.last.look_again is not None
                assert scene.last.look_again <= 5

    @invariant()
    def whoever_waits_is_told_why(self) -> None:
        for scene in self.scenes[:1]:
            if scene.canary is not None and scene.last is not None:
                assert scene.waiting


RolloutMachine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_rollout_under_everything = RolloutMachine.TestCase
