"""The rollout engine: one decision a call, each a whole transition that can be lost or repeated without harm.

The order of the gates is the order of their rights: people first, then safety, then progress.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from agent_api.quantities import dollars, seconds
from agent_api.v1alpha1.rollout import OnInconclusive, Pause, Step
from agent_api.v1alpha1.route import AgentRouteSpec, Rejection, Role
from agent_api.v1alpha1.status import Verdict
from agent_operator.core import commands, judging, routing
from agent_operator.core.facts import Note, RevisionHealth, Seen, Transition
from agent_operator.core.revision import short_hash

ALL = 100
LOOK_AT_ANALYSIS = 1.0
LOOK_AT_LEASE = 5.0
LOOK_AT_HOLD = 30.0
LEASE_INTERVAL = timedelta(seconds=20)

Gate = Callable[[AgentRouteSpec, Seen, datetime], Transition | None]


def steps_hash(seen: Seen) -> str:
    """Hash of the steps and the analysis; a change in mid-rollout is taken up at once."""
    canary = seen.rollout.canary
    return short_hash(
        [
            [step.model_dump(mode="json", by_alias=True, exclude_none=True) for step in canary.steps],
            canary.analysis.model_dump(mode="json", by_alias=True),
        ]
    )


def goal_of(route: AgentRouteSpec, seen: Seen) -> str:
    """Revision that should serve: what the spec asks for, unless it was taken back."""
    rejected = route.rollout.rejected
    if rejected is None or rejected.revision != seen.target:
        return seen.target
    return route.rollout.undo_to or routing.name_of(route, Role.STABLE) or seen.target


def advance(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition:
    """Decide the next transition; a transition with an unchanged route says what is waited for.

    Call again at once after every change of the route, and after `look_again` seconds otherwise.
    """
    for gate in _GATES:
        transition = gate(route, seen, now)
        if transition is not None:
            return transition
    return Transition(route, look_again=_until_drained(route, now))


def _until_drained(route: AgentRouteSpec, now: datetime) -> float | None:
    moments = [drain.until for drain in route.rollout.draining]
    return max(0.0, (min(moments) - now).total_seconds()) if moments else None


def _knobs(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    changed = routing.set_knobs(route, seen.knobs)
    if changed is route:
        return None
    notes: tuple[Note, ...] = ()
    if changed.suspended is not route.suspended:
        notes = (
            Note(warning=True, reason="Suspended", message="new runs are refused")
            if changed.suspended
            else Note(warning=False, reason="Resumed", message="new runs are served again"),
        )
    return Transition(changed, notes=notes, look_again=0)


def _spec_changed(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    rejected = route.rollout.rejected
    if rejected is None or rejected.revision == seen.target:
        return None
    return Transition(routing.edit_ledger(route, rejected=None, undo_to=None), look_again=0)


def _first_revision(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Until the first revision was available once there is nothing to protect, and no canary."""
    stable = routing.name_of(route, Role.STABLE)
    if route.rollout.stable_available or stable is None:
        return None
    if stable != seen.target:
        note = Note(
            warning=False, reason="RevisionReplaced", message=f"{seen.target} replaces {stable}, never available"
        )
        return Transition(routing.replace_first(route, seen.target, now), notes=(note,), look_again=0)
    health = seen.health(stable)
    if health.available(seen.replicas):
        note = Note(warning=False, reason="RolloutCompleted", message=f"{stable} is available and serves")
        changed = routing.edit_ledger(
            route, stable_available=True, history=(stable,), started_at=None, progress_at=None, progress_ready=0
        )
        return Transition(changed, notes=(note,), look_again=0)
    if health.waits_for_store:
        return _await_store(route, stable, health)
    noted = _progress(route, seen, stable, now)
    return _await_first(route, seen, stable, now) if noted is None else noted


def _await_first(route: AgentRouteSpec, seen: Seen, stable: str, now: datetime) -> Transition:
    """A first revision is never taken back: past its deadline it is said to be stuck."""
    left = _time_left(route, seen, now)
    if left > 0:
        return Transition(route, look_again=left, waiting=f"{stable}: waiting for its first pods")
    reason = seen.health(stable).not_ready_reason or f"{seen.health(stable).ready} of {seen.replicas} pods are ready"
    waiting = f"{stable}: not available after {seen.rollout.progress_deadline}: {reason}"
    return Transition(route, waiting=waiting, overdue=True)


def _await_store(route: AgentRouteSpec, revision: str, health: RevisionHealth) -> Transition:
    """The deadline does not run while pods wait for their store: that is no fault of the revision."""
    if route.rollout.progress_at is not None:
        return Transition(routing.edit_ledger(route, progress_at=None, progress_ready=0), look_again=0)
    return Transition(route, look_again=LOOK_AT_LEASE, waiting=f"{revision}: {health.not_ready_reason}")


def _time_left(route: AgentRouteSpec, seen: Seen, now: datetime) -> float:
    """Seconds until the deadline of whatever pods are awaited."""
    waited = (now - (route.rollout.progress_at or now)).total_seconds()
    return seconds(seen.rollout.progress_deadline) - waited


def _superseded(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    canary = routing.name_of(route, Role.CANARY)
    goal = goal_of(route, seen)
    if canary is None or canary == goal or (seen.paused and goal != routing.name_of(route, Role.STABLE)):
        return None
    note = Note(warning=False, reason="RolloutSuperseded", message=f"{canary} is withdrawn: the spec asks for {goal}")
    return Transition(routing.withdraw(route, None), notes=(note,), look_again=0)


def _drained(route: AgentRouteSpec, _seen: Seen, now: datetime) -> Transition | None:
    changed = routing.end_drains(route, now)
    return None if changed is route else Transition(changed, look_again=0)


def _begin(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    stable = routing.name_of(route, Role.STABLE)
    goal = goal_of(route, seen)
    if goal == stable or routing.name_of(route, Role.CANARY) is not None:
        return None
    if seen.paused:
        waiting = f"{goal} is not begun: spec.paused is true; set it to false to go on"
        return Transition(route, waiting=waiting, look_again=_until_drained(route, now))
    window = [name for name in route.rollout.history if name != stable][: seen.rollout.rollback_window]
    promote_full = goal in window or goal == route.rollout.undo_to or seen.replicas == 0
    how = "without steps" if promote_full else f"in {len(seen.rollout.canary.steps)} steps"
    note = Note(warning=False, reason="RolloutStarted", message=f"{goal} is rolled out {how}, from {stable}")
    changed = routing.begin(route, goal, steps_hash(seen), now, promote_full=promote_full)
    drains = any(drain.revision == goal for drain in route.rollout.draining)
    if promote_full and drains and seen.health(goal).available(seen.replicas):
        changed = _promote(changed, seen, now).model_copy(update={"serial": changed.serial})
    return Transition(changed, notes=(note,), look_again=0)


def _promote(route: AgentRouteSpec, seen: Seen, now: datetime) -> AgentRouteSpec:
    drain = seconds(seen.rollout.conversation_drain) if seen.replicas else 0.0
    return routing.promote(route, drain, seen.rollout.revision_history_limit, now)


def _broken(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    canary = routing.name_of(route, Role.CANARY)
    failure = None if canary is None else seen.health(canary).failure
    return None if failure is None else take_back(route, failure.reason.value, failure.message, now)


def take_back(route: AgentRouteSpec, reason: str, message: str, now: datetime) -> Transition:
    """Roll back: the canary serves nothing new, and is not tried again until the spec changes or `retry`."""
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        raise ValueError("there is no canary to take back")
    rejection = Rejection(revision=canary, reason=reason, message=message[:1024], time=now)
    note = Note(warning=True, reason="RolledBack", message=f"{canary} is taken back ({reason}): {message}"[:1000])
    return Transition(routing.withdraw(route, rejection), notes=(note,), look_again=0)


def _overspent(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A canary that has spent its share of the day gets no new conversations; lowering waits for nothing."""
    ledger, spend = route.rollout, seen.canary_spend
    if routing.find(route, Role.CANARY) is None or ledger.promote_full or spend is None or not spend.exhausted:
        return None
    hold = ledger.budget_hold
    if (hold is None and routing.canary_weight(route) == 0) or (hold is not None and hold.day == spend.day):
        return None
    message = f"the canary has spent {dollars(spend.spent_micro)} USD, its share of the budget of {spend.day}"
    note = Note(warning=True, reason="CanaryBudgetExhausted", message=message)
    return Transition(routing.hold_for_budget(route, spend.day, now), notes=(note,), look_again=0)


def _held(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A canary that was kept back for its spend goes on when there is budget again, or when a person says so."""
    hold = route.rollout.budget_hold
    if routing.find(route, Role.CANARY) is None or hold is None or not hold.held or route.rollout.promote_full:
        return None
    spend = seen.canary_spend
    if not hold.released and (spend is None or spend.exhausted):
        waiting = (
            "the canary has spent its share of the day's budget; it goes on when the day is over,"
            " or type `kubectl agent promote` to let it go on now, `abort` to take it back"
        )
        return Transition(route, waiting=waiting, look_again=LOOK_AT_HOLD)
    weight = _weight_before(seen.rollout.canary.steps, route.rollout.step_index)
    why = "a person lets it" if hold.released else "its share of the budget is not spent any more"
    note = Note(warning=False, reason="CanaryBudgetResumed", message=f"the canary goes on at weight {weight} %: {why}")
    changed = routing.end_hold(route, weight, judging.renew(route.rollout.analysis, now), now)
    return Transition(changed, notes=(note,), look_again=0)


def _weight_before(steps: tuple[Step, ...], index: int) -> int:
    """Weight that the steps before an index gave the canary."""
    return next((step.set_weight for step in reversed(steps[:index]) if step.set_weight is not None), 0)


def _lease(route: AgentRouteSpec, _seen: Seen, now: datetime) -> Transition | None:
    """While the weight is between 0 and 100, gateways want to see that somebody watches the canary."""
    if not 0 < routing.canary_weight(route) < ALL:
        return None
    bumped_at = route.lease.bumped_at
    if bumped_at is not None and now - bumped_at < LEASE_INTERVAL:
        return None
    return Transition(routing.bump_lease(route, now), look_again=0)


def _verdict(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Read new observations; a Fail takes the canary back wherever it stands, also while paused."""
    if routing.canary_weight(route) == 0:
        return None
    changed = judging.read(route, seen, now)
    judgement = judging.judge(changed, seen, now)
    if judgement is not None and judgement.verdict is Verdict.FAIL:
        return take_back(changed, "AnalysisFailed", judgement.message, now)
    return None if changed is route else Transition(changed, look_again=0)


def _progress(route: AgentRouteSpec, seen: Seen, revision: str, now: datetime) -> Transition | None:
    """Note progress towards availability, for the deadline; None if there is none to note."""
    ledger = route.rollout
    ready = seen.health(revision).ready
    if ledger.progress_at is None or ready > ledger.progress_ready:
        return Transition(routing.edit_ledger(route, progress_at=now, progress_ready=ready), look_again=0)
    return None


def _availability(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """The deadline runs while the canary is awaited, and begins anew when pods are lost later."""
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        return None
    health = seen.health(canary)
    if health.available(seen.replicas):
        if route.rollout.progress_at is None:
            return None
        arrived = routing.edit_ledger(route, progress_at=None, progress_ready=0)
        return Transition(arrived, look_again=0)
    if health.waits_for_store:
        return _await_store(route, canary, health)
    noted = _progress(route, seen, canary, now)
    if noted is not None:
        return noted
    left = _time_left(route, seen, now)
    reason = health.not_ready_reason or f"{health.ready} of {seen.replicas} pods are ready"
    if left <= 0:
        message = f"not available after {seen.rollout.progress_deadline}: {reason}"
        return take_back(route, "ProgressDeadlineExceeded", message, now)
    return Transition(route, look_again=min(left, LOOK_AT_LEASE), waiting=f"{canary}: {reason}")


def _paused(route: AgentRouteSpec, seen: Seen, _now: datetime) -> Transition | None:
    canary = routing.name_of(route, Role.CANARY)
    if canary is None or not seen.paused:
        return None
    return Transition(route, look_again=_analysis_look(route), waiting="spec.paused is true; set it to false to go on")


def _analysis_look(route: AgentRouteSpec) -> float:
    return LOOK_AT_ANALYSIS if 0 < routing.canary_weight(route) < ALL else LOOK_AT_LEASE


def _edited(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Edited steps and analysis are taken up at once."""
    if routing.find(route, Role.CANARY) is None or route.rollout.steps_hash == steps_hash(seen):
        return None
    steps = seen.rollout.canary.steps
    index = _resumed(steps, routing.canary_weight(route))
    note = Note(warning=False, reason="StepsEdited", message=f"the rollout resumes at step {index + 1}/{len(steps)}")
    anew = judging.restart(route.rollout.analysis, now)
    return Transition(routing.resume_at(route, index, steps_hash(seen), anew), notes=(note,), look_again=0)


def _resumed(steps: tuple[Step, ...], weight: int) -> int:
    """First step whose weight is not below the present one; if none is, the last one with a weight: never unproven."""
    weighing = [(index, step.set_weight) for index, step in enumerate(steps) if step.set_weight is not None]
    if weight == 0 or not weighing:
        return 0
    return next((index for index, wanted in weighing if wanted >= weight), weighing[-1][0])


def _step(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        return None
    steps = seen.rollout.canary.steps
    index = route.rollout.step_index
    if route.rollout.promote_full or index >= len(steps):
        note = Note(warning=False, reason="RolloutCompleted", message=f"{canary} is promoted")
        return Transition(_promote(route, seen, now), notes=(note,), look_again=0)
    return _hold(route, seen, steps[index], now)


def _hold(route: AgentRouteSpec, seen: Seen, step: Step, now: datetime) -> Transition:
    if step.set_weight is not None:
        return _set_weight(route, seen, step.set_weight, now)
    if not seen.acknowledged:
        return Transition(route, waiting="the gateways have not confirmed the weight yet", look_again=LOOK_AT_ANALYSIS)
    if step.pause is not None:
        return _pause(route, seen, step.pause, now)
    return _analyze(route, seen, now)


def _lower(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """A step that lowers the weight waits for nothing."""
    steps, index = seen.rollout.canary.steps, route.rollout.step_index
    if routing.find(route, Role.CANARY) is None or seen.paused or index >= len(steps):
        return None
    weight = steps[index].set_weight
    if weight is None or weight >= routing.canary_weight(route) or route.rollout.promote_full:
        return None
    return _set_weight(route, seen, weight, now)


def _set_weight(route: AgentRouteSpec, seen: Seen, weight: int, now: datetime) -> Transition:
    if routing.canary_weight(route) != weight:
        note = Note(warning=False, reason="TrafficWeightUpdated", message=f"canary weight {weight} %")
        return Transition(routing.weigh(route, weight, now), notes=(note,), look_again=0)
    if not seen.acknowledged:
        waiting = f"waiting until every ready gateway has confirmed weight {weight} %"
        return Transition(route, waiting=waiting, look_again=LOOK_AT_ANALYSIS)
    return _passed(route, seen, f"every ready gateway serves weight {weight} %", now)


def _passed(route: AgentRouteSpec, seen: Seen, why: str, now: datetime) -> Transition:
    position = f"{route.rollout.step_index + 1}/{len(seen.rollout.canary.steps)}"
    note = Note(warning=False, reason="RolloutStepCompleted", message=f"step {position}: {why}")
    return Transition(
        routing.next_step(route, judging.renew(route.rollout.analysis, now), now), notes=(note,), look_again=0
    )


def _pause(route: AgentRouteSpec, seen: Seen, pause: Pause, now: datetime) -> Transition:
    if pause.duration is None:
        waiting = "paused by its step; type `kubectl agent promote` to go on, `abort` to take it back"
        return Transition(route, waiting=waiting, look_again=_analysis_look(route))
    since = route.rollout.step_since
    if since is None:
        return Transition(routing.edit_ledger(route, step_since=now), look_again=0)
    left = (since + timedelta(seconds=seconds(pause.duration)) - now).total_seconds()
    if left <= 0:
        return _passed(route, seen, f"paused for {pause.duration}", now)
    return Transition(route, waiting=f"paused for {pause.duration}", look_again=min(left, _analysis_look(route)))


def _analyze(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition:
    judgement = judging.judge(route, seen, now)
    if judgement is None:
        if routing.canary_weight(route) == 0:
            return _passed(route, seen, "nothing to analyze at weight 0", now)
        return _without_requests(route, seen, now)
    if judgement.verdict is Verdict.PASS:
        return _passed(route, seen, judgement.message, now)
    if judgement.verdict is Verdict.INCONCLUSIVE:
        return _inconclusive(route, seen, judgement.message, now)
    return Transition(route, waiting=f"analysis: {judgement.message}", look_again=LOOK_AT_ANALYSIS)


def _without_requests(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition:
    """Nothing was read yet: the step's clock runs all the same, and at maxDuration there is no verdict."""
    since = route.rollout.step_since
    if since is None:
        return Transition(routing.edit_ledger(route, step_since=now), look_again=0)
    if (now - since).total_seconds() >= seconds(seen.rollout.canary.analysis.max_duration):
        return Transition(routing.edit_ledger(route, analysis=judging.first_ledger(route, seen, since)), look_again=0)
    return Transition(route, waiting="the analysis waits for its first requests", look_again=LOOK_AT_ANALYSIS)


def _inconclusive(route: AgentRouteSpec, seen: Seen, why: str, now: datetime) -> Transition:
    policy = seen.rollout.canary.analysis.on_inconclusive
    if policy is OnInconclusive.ROLLBACK:
        return take_back(route, "AnalysisInconclusive", why, now)
    if policy is OnInconclusive.PROMOTE:
        return _passed(route, seen, f"inconclusive, passed by onInconclusive: {why}", now)
    analysis = route.rollout.analysis
    if analysis is not None and not analysis.inconclusive:
        marked = routing.edit_ledger(route, analysis=analysis.model_copy(update={"inconclusive": True}))
        note = Note(warning=True, reason="AnalysisInconclusive", message=why)
        return Transition(marked, notes=(note,), look_again=0)
    waiting = f"analysis inconclusive: {why}; type `kubectl agent promote` or `abort`"
    return Transition(route, waiting=waiting, look_again=LOOK_AT_ANALYSIS)


_GATES: tuple[Gate, ...] = (
    commands.run_command,
    _knobs,
    _spec_changed,
    _first_revision,
    _superseded,
    _drained,
    _begin,
    _broken,
    _overspent,
    _lease,
    _verdict,
    _edited,
    _lower,
    _availability,
    _paused,
    _held,
    _step,
)
