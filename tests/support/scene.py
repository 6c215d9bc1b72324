"""One agent's rollout as a scene: facts are set by sentences, the engine is driven, every transition is checked."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from agent_api.observations import (
    SLOT_SECONDS,
    Observations,
    Slot,
    UnitState,
    UnitTurn,
    conversation_hash,
    slot_start,
)
from agent_api.v1alpha1.rollout import (
    Analysis,
    AnalysisMetric,
    Analyze,
    Canary,
    MetricName,
    OnInconclusive,
    Pause,
    Rollout,
    Step,
    Stickiness,
)
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.engine.gates import advance
from agent_operator.core.facts import (
    CanarySpend,
    Command,
    FailureReason,
    Knobs,
    Note,
    PodFailure,
    RevisionHealth,
    Seen,
    Transition,
)
from tests.support.invariants import check_transition

START = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
PORT = 10000
ENOUGH = 60


def weight(percent: int) -> Step:
    return Step(set_weight=percent)


def pause(duration: str | None = None) -> Step:
    return Step(pause=Pause(duration=duration))


def analyze() -> Step:
    return Step(analyze=Analyze())


def analysis(
    *,
    min_samples: int = 50,
    max_duration: str = "1h",
    on_inconclusive: OnInconclusive = OnInconclusive.PAUSE,
    max_increase: str = "0.02",
) -> Analysis:
    metric = AnalysisMetric(name=MetricName.ERROR_RATE, max_increase=max_increase)
    return Analysis(
        metrics=[metric], min_samples=min_samples, max_duration=max_duration, on_inconclusive=on_inconclusive
    )


def rollout_of(
    *steps: Step, judged: Analysis | None = None, stickiness: Stickiness = Stickiness.CONVERSATION, **fields: object
) -> Rollout:
    canary = Canary(steps=steps, analysis=judged or analysis(), stickiness=stickiness)
    return Rollout.model_validate({"canary": canary, **fields})


def healthy(replicas: int = 2) -> RevisionHealth:
    return RevisionHealth(exists=True, pods=replicas, ready=replicas, status_current=True)


def starting(ready: int = 0, wanted: int = 2) -> RevisionHealth:
    return RevisionHealth(exists=True, pods=wanted, ready=ready, status_current=True)


def broken(reason: FailureReason = FailureReason.CRASH_LOOP) -> RevisionHealth:
    return replace(starting(), failure=PodFailure(reason, f"pod p: {reason}"))


def unit(
    name: str,
    state: UnitState = UnitState.OK,
    *,
    begins: bool = True,
    by_user: bool = False,
    offset_ms: int = 0,
) -> UnitTurn:
    """What one conversation, or user, did in a slot; its hash is that of `name`."""
    hashed = conversation_hash(name)
    return UnitTurn(name=hashed, begins=begins and not by_user, by_user=by_user, offset_ms=offset_ms, state=state)


def units_slot(revision: str, start: int, *turns: UnitTurn, epoch: int = 1, below: str = "") -> Slot:
    """A slot that names these units."""
    failures = sum(turn.state in {UnitState.FAILED, UnitState.UNANSWERED} for turn in turns)
    return Slot(
        revision=revision,
        epoch=epoch,
        start=start,
        requests=len(turns),
        failures=failures,
        conversations=sum(turn.begins for turn in turns),
        units=turns,
        units_below=below,
    )


def slot(revision: str, start: int, requests: int, failures: int = 0, *, epoch: int = 1) -> Slot:
    """A slot in which every request, at most MAX_UNITS, is its own conversation, and the first ones fail."""
    turns = (
        unit(f"{revision}/{start}/{number}", UnitState.FAILED if number < failures else UnitState.OK)
        for number in range(requests)
    )
    return units_slot(revision, start, *turns, epoch=epoch)


def older_slot(revision: str, start: int, requests: int, failures: int = 0, *, epoch: int = 1) -> Slot:
    """A slot of a pod that knows no units."""
    return Slot(revision=revision, epoch=epoch, start=start, requests=requests, failures=failures, conversations=0)


def observed(*slots: Slot, settled_until: int, instance: str = "pod-a", since: int = 0) -> Observations:
    return Observations(instance=instance, since=since, settled_until=settled_until, in_flight=0, slots=slots)


def stable_route(name: str = "v1", now: datetime = START, history: tuple[str, ...] = ()) -> AgentRouteSpec:
    """The route of an agent whose revision `name` has been serving for a while."""
    return routing.edit_ledger(
        routing.first_route(PORT, name, now),
        stable_available=True,
        history=history or (name,),
        started_at=None,
        progress_at=None,
    )


@dataclass
class Scene:
    """The facts around one route, and the engine's answers to them."""

    route: AgentRouteSpec = field(default_factory=stable_route)
    plan: Rollout = field(default_factory=lambda: rollout_of(weight(10), analyze(), weight(50), analyze()))
    target: str = "v1"
    replicas: int = 2
    paused: bool = False
    suspended: bool = False
    now: datetime = START
    health: dict[str, RevisionHealth] = field(default_factory=lambda: {"v1": healthy()})
    gateways_follow: bool = True
    acknowledged_serial: int = 0
    command: Command | None = None
    slots: list[Slot] = field(default_factory=list)
    complete: bool = True
    held_at: int | None = None
    canary_spend: CanarySpend | None = None
    through_json: bool = False
    notes: list[Note] = field(default_factory=list)
    states: list[AgentRouteSpec] = field(default_factory=list)
    last: Transition | None = None
    ever_available: set[str] = field(default_factory=lambda: {"v1"})
    _ids: itertools.count[int] = field(default_factory=itertools.count)

    # What happens in the world.

    def asks(self, target: str) -> Scene:
        self.target = target
        self.health.setdefault(target, RevisionHealth())
        return self

    def is_ready(self, name: str) -> Scene:
        self.health[name] = healthy(self.replicas)
        return self

    def is_starting(self, name: str, ready: int = 0) -> Scene:
        self.health[name] = starting(ready, self.replicas)
        return self

    def waits_for_store(self, name: str) -> Scene:
        self.health[name] = replace(starting(0, self.replicas), waits_for_store=True, not_ready_reason="no store")
        return self

    def canary_spends(self, spent: int, share: int | None = 20, day: str = "2030-01-01") -> Scene:
        """Micro-dollars that the canary spent of its share of a day's budget."""
        self.canary_spend = CanarySpend(day, spent, share)
        return self

    def is_broken(self, name: str, reason: FailureReason = FailureReason.CRASH_LOOP) -> Scene:
        self.health[name] = broken(reason)
        return self

    def gateways_are_silent(self) -> Scene:
        self.gateways_follow = False
        return self

    def gateways_acknowledge(self) -> Scene:
        self.acknowledged_serial = self.route.serial
        return self

    def passes(self, seconds: float) -> Scene:
        self.now += timedelta(seconds=seconds)
        return self

    def types(self, verb: str) -> Scene:
        self.command = Command(verb, f"c{next(self._ids)}")
        return self

    def with_steps(self, *steps: Step, judged: Analysis | None = None) -> Scene:
        canary = self.plan.canary.model_copy(update={"steps": steps, "analysis": judged or self.plan.canary.analysis})
        self.plan = self.plan.model_copy(update={"canary": canary})
        return self

    def serve(self, *, canary: tuple[int, int] = (0, 0), stable: tuple[int, int] = (0, 0)) -> Scene:
        """Requests and failures of both revisions in one slot, which then settles."""
        start = slot_start(self.now.timestamp())
        for name, (requests, failures) in ((self.canary, canary), (self.stable, stable)):
            if name is not None and requests:
                self.slots.append(slot(name, start, requests, failures, epoch=self.route.epoch))
        return self.passes(SLOT_SECONDS)

    def is_held_at(self, moment: int | None) -> Scene:
        """A run that began at Unix time `moment` is in flight on some pod; None: none is."""
        self.held_at = None if moment is None else slot_start(moment)
        return self

    def serve_well(self, slots: int = 40) -> Scene:
        for _ in range(slots):
            self.serve(canary=(20, 0), stable=(20, 0))
        return self

    def serve_badly(self, slots: int = 10) -> Scene:
        for _ in range(slots):
            self.serve(canary=(20, 12), stable=(20, 0))
        return self

    # The engine.

    def seen(self) -> Seen:
        if self.gateways_follow:
            self.gateways_acknowledge()
        settled = slot_start(self.now.timestamp()) if self.held_at is None else self.held_at
        return Seen(
            target=self.target,
            replicas=self.replicas,
            knobs=Knobs(suspended=self.suspended, stickiness=self.plan.canary.stickiness),
            paused=self.paused,
            rollout=self.plan,
            revisions=dict(self.health),
            acknowledged=self.acknowledged_serial >= self.route.serial,
            recorded=frozenset({*self.health, self.target}),
            command=self.command,
            observations=(observed(*self.slots, settled_until=settled),),
            complete=self.complete,
            canary_spend=self.canary_spend,
        )

    def step(self) -> Transition:
        """Decide once, and check what no transition may break."""
        seen = self.seen()
        for name, health in self.health.items():
            if health.available(self.replicas) or (health.ready and seen.acknowledged):
                self.ever_available.add(name)
        transition = advance(self.route, seen, self.now)
        check_transition(self.route, transition, seen, self.ever_available)
        if transition.route != self.route:
            self.states.append(transition.route)
        self.last = transition
        self.notes += transition.notes
        self.route = self._stored(transition.route)
        return transition

    def _stored(self, route: AgentRouteSpec) -> AgentRouteSpec:
        if not self.through_json:
            return route
        written = route.model_dump(mode="json", by_alias=True, exclude_none=True)
        return AgentRouteSpec.model_validate(written)

    def run(self) -> Scene:
        """Decide until nothing changes any more."""
        for _ in range(ENOUGH):
            before = self.route
            if self.step().route == before:
                assert self.last is not None
                assert self.last.look_again != 0, "a decision that changes nothing must not ask to be repeated at once"
                return self
        raise AssertionError(f"still changing after {ENOUGH} transitions: {self.notes[-5:]}")

    # What became of it.

    @property
    def canary(self) -> str | None:
        return routing.name_of(self.route, Role.CANARY)

    @property
    def stable(self) -> str | None:
        return routing.name_of(self.route, Role.STABLE)

    @property
    def draining(self) -> list[str]:
        return [entry.name for entry in self.route.revisions if entry.role is Role.DRAINING]

    @property
    def weight(self) -> int:
        return routing.canary_weight(self.route)

    @property
    def index(self) -> int:
        return self.route.rollout.step_index

    @property
    def waiting(self) -> str:
        return "" if self.last is None else self.last.waiting

    @property
    def rejected(self) -> str | None:
        rejection = self.route.rollout.rejected
        return None if rejection is None else rejection.revision

    @property
    def reasons(self) -> list[str]:
        return [note.reason for note in self.notes]

    @property
    def answer(self) -> tuple[str, str]:
        """Result and message of the last command."""
        command = self.route.rollout.command
        assert command is not None
        return command.result.value, command.message


def rolling(name: str = "v2", **facts: object) -> Scene:
    """A scene in which `name` is the canary, ready, and has been driven as far as it goes by itself."""
    scene = Scene(**facts)
    return scene.asks(name).is_ready(name).run()
