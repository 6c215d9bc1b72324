"""Changes of an AgentRoute, each a whole transition: routing and ledger move in one write."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TypedDict, Unpack

from agent_api.v1alpha1.rollout import Stickiness
from agent_api.v1alpha1.route import (
    ALL_TRAFFIC,
    AgentRouteSpec,
    AnalysisLedger,
    BudgetHold,
    Drain,
    JwtRule,
    Lease,
    Rejection,
    Role,
    RolloutLedger,
    RouteRevision,
)
from agent_api.v1alpha1.status import ObservedCommand
from agent_operator.core.facts import Knobs

MAX_DRAINING = 16


def find(route: AgentRouteSpec, role: Role) -> RouteRevision | None:
    """The revision in a role that only one can have (Stable, Canary)."""
    return next((revision for revision in route.revisions if revision.role is role), None)


def name_of(route: AgentRouteSpec, role: Role) -> str | None:
    """Name of the revision in a role that only one can have."""
    revision = find(route, role)
    return None if revision is None else revision.name


def canary_weight(route: AgentRouteSpec) -> int:
    """Percent of new conversations that the canary gets."""
    canary = find(route, Role.CANARY)
    return 0 if canary is None else canary.weight


class LedgerChanges(TypedDict, total=False):
    """Fields of the ledger, for `edit_ledger`."""

    stable_available: bool
    step_index: int
    steps_hash: str
    started_at: datetime | None
    step_since: datetime | None
    progress_at: datetime | None
    progress_ready: int
    available_at: int
    canary_drain: Drain | None
    promote_full: bool
    undo_to: str | None
    rejected: Rejection | None
    last_rollback: Rejection | None
    history: tuple[str, ...]
    draining: tuple[Drain, ...]
    analysis: AnalysisLedger | None
    budget_hold: BudgetHold | None
    command: ObservedCommand | None


class _RouteChanges(TypedDict, total=False):
    """Fields of a route that change what gateways do."""

    epoch: int
    lease: Lease
    suspended: bool
    stickiness: Stickiness
    description: str
    jwt: JwtRule | None
    api_keys: bool


def edit_ledger(route: AgentRouteSpec, **changes: Unpack[LedgerChanges]) -> AgentRouteSpec:
    """Change the ledger alone; gateways have nothing to do."""
    return route.model_copy(update={"rollout": _edited(route.rollout, **changes)})


def _edited(ledger: RolloutLedger, **changes: Unpack[LedgerChanges]) -> RolloutLedger:
    return ledger.model_copy(update=dict(changes))


def _routed(
    route: AgentRouteSpec,
    revisions: tuple[RouteRevision, ...],
    ledger: RolloutLedger | None = None,
    **changes: Unpack[_RouteChanges],
) -> AgentRouteSpec:
    """Change what gateways do: the serial rises."""
    update = {"revisions": revisions, "serial": route.serial + 1, "rollout": ledger or route.rollout, **changes}
    return route.model_copy(update=update)


def _entry(name: str, role: Role, weight: int) -> RouteRevision:
    return RouteRevision(name=name, service=name, role=role, weight=weight)


def first_route(port: int, stable: str, now: datetime, *, serial: int = 1) -> AgentRouteSpec:
    """Route of a new agent: its first revision gets everything, without steps."""
    ledger = RolloutLedger(progress_at=now, started_at=now)
    return AgentRouteSpec(
        serial=serial, port=port, epoch=0, revisions=(_entry(stable, Role.STABLE, ALL_TRAFFIC),), rollout=ledger
    )


def replace_first(route: AgentRouteSpec, stable: str, now: datetime) -> AgentRouteSpec:
    """Put another revision in place of a first one that never became available."""
    ledger = _edited(route.rollout, progress_at=now, progress_ready=0, rejected=None)
    return _routed(route, (_entry(stable, Role.STABLE, ALL_TRAFFIC),), ledger)


def knobs_of(route: AgentRouteSpec) -> Knobs:
    """Live knobs as the gateways have them."""
    return Knobs(
        suspended=route.suspended,
        stickiness=route.stickiness,
        description=route.description,
        jwt=route.jwt,
        api_keys=route.api_keys,
    )


def set_knobs(route: AgentRouteSpec, knobs: Knobs) -> AgentRouteSpec:
    """Carry live knobs to the gateways; the same route if nothing changed."""
    if knobs_of(route) == knobs:
        return route
    return _routed(
        route,
        route.revisions,
        suspended=knobs.suspended,
        stickiness=knobs.stickiness,
        description=knobs.description,
        jwt=knobs.jwt,
        api_keys=knobs.api_keys,
    )


def begin(route: AgentRouteSpec, canary: str, steps_hash: str, now: datetime, *, promote_full: bool) -> AgentRouteSpec:
    """Begin a rollout: a new epoch, the canary at weight 0.

    A canary that still drains keeps the conversations that it has: it serves, so that they stay.
    """
    drain = next((drain for drain in route.rollout.draining if drain.revision == canary), None)
    others = tuple(revision for revision in route.revisions if revision.name != canary)
    ledger = _edited(
        _ended(route.rollout),
        steps_hash=steps_hash,
        started_at=now,
        progress_at=now,
        promote_full=promote_full,
        draining=tuple(other for other in route.rollout.draining if other is not drain),
        canary_drain=drain,
    )
    entry = _entry(canary, Role.CANARY, 0).model_copy(update={"any_epoch": drain is not None})
    return _routed(route, (*others, entry), ledger, epoch=route.epoch + 1)


def weigh(route: AgentRouteSpec, weight: int, now: datetime) -> AgentRouteSpec:
    """Give the canary a weight and stable the rest; the lease begins anew, however long the canary was awaited."""
    weights = {Role.CANARY: weight, Role.STABLE: ALL_TRAFFIC - weight, Role.DRAINING: 0}
    revisions = tuple(revision.model_copy(update={"weight": weights[revision.role]}) for revision in route.revisions)
    ledger = _edited(route.rollout, step_since=None)
    return _routed(bump_lease(route, now), revisions, ledger)


def hold_for_budget(route: AgentRouteSpec, day: str, now: datetime) -> AgentRouteSpec:
    """Keep the canary at weight 0: it has spent its share of the budget of a day."""
    held = edit_ledger(route, budget_hold=BudgetHold(day=day))
    return held if canary_weight(route) == 0 else weigh(held, 0, now)


def release_hold(route: AgentRouteSpec) -> AgentRouteSpec:
    """Let the canary go on for the rest of the day, though its share is spent, because a person says so."""
    hold = route.rollout.budget_hold
    if hold is None:
        raise ValueError("only a canary that is kept at weight 0 can be let go on")
    return edit_ledger(route, budget_hold=hold.model_copy(update={"released": True}))


def end_hold(route: AgentRouteSpec, weight: int, analysis: AnalysisLedger | None, now: datetime) -> AgentRouteSpec:
    """Give the canary its weight back, with the analysis as it begins there; what a person released stays noted."""
    hold = route.rollout.budget_hold
    kept = None if hold is None or not hold.released else hold.model_copy(update={"held": False})
    ended = edit_ledger(route, budget_hold=kept, analysis=analysis, step_since=None)
    return ended if canary_weight(route) == weight else weigh(ended, weight, now)


def next_step(route: AgentRouteSpec, analysis: AnalysisLedger | None, now: datetime) -> AgentRouteSpec:
    """Go on to the next step, with the analysis as it begins there."""
    return edit_ledger(route, step_index=route.rollout.step_index + 1, step_since=now, analysis=analysis)


def resume_at(
    route: AgentRouteSpec, step_index: int, steps_hash: str, analysis: AnalysisLedger | None
) -> AgentRouteSpec:
    """Take up edited steps at an index, with the analysis as it begins there."""
    return edit_ledger(route, step_index=step_index, steps_hash=steps_hash, step_since=None, analysis=analysis)


def promote(route: AgentRouteSpec, drain_seconds: float, history_limit: int, now: datetime) -> AgentRouteSpec:
    """Make the canary stable; the old stable keeps its conversations until it has drained."""
    canary, stable = name_of(route, Role.CANARY), name_of(route, Role.STABLE)
    if canary is None or stable is None:
        raise ValueError("only a route with a stable revision and a canary can be promoted")
    drains = tuple(drain for drain in route.rollout.draining if drain.revision != canary)
    if drain_seconds > 0:
        drains = (*drains, Drain(revision=stable, until=now + timedelta(seconds=drain_seconds)))[-MAX_DRAINING:]
    unwanted = {canary, *_undone(route, canary, stable)}
    history = (canary, *(name for name in route.rollout.history if name not in unwanted))[: history_limit + 1]
    ledger = _edited(_ended(route.rollout), stable_available=True, draining=drains, history=history)
    revisions = (
        _entry(canary, Role.STABLE, ALL_TRAFFIC),
        *(_entry(drain.revision, Role.DRAINING, 0) for drain in drains),
    )
    return _routed(route, revisions, ledger)


def _undone(route: AgentRouteSpec, canary: str, stable: str) -> set[str]:
    """What people undid, by the promotion of `canary`: it is not among the revisions that take over without steps."""
    rejected = route.rollout.rejected
    if route.rollout.undo_to != canary:
        return set()
    return {stable} if rejected is None else {stable, rejected.revision}


def withdraw(route: AgentRouteSpec, rejection: Rejection | None) -> AgentRouteSpec:
    """Take the canary back at once: its weight and its pins go; a rejection is remembered.

    What is rejected needs its steps when it is tried again, however often it was promoted before. A canary that nobody
    asks for any more, and that drained before, drains on.
    """
    drain = route.rollout.canary_drain if rejection is None else None
    revisions = tuple(
        revision.model_copy(update={"weight": ALL_TRAFFIC if revision.role is Role.STABLE else 0})
        for revision in route.revisions
        if revision.role is not Role.CANARY
    )
    ledger = _ended(route.rollout)
    if drain is not None:
        revisions = (*revisions, _entry(drain.revision, Role.DRAINING, 0))
        ledger = _edited(ledger, draining=(*ledger.draining, drain))
    if rejection is not None:
        rejected = _still_rejected(route, rejection)
        history = tuple(name for name in ledger.history if name != rejection.revision)
        ledger = _edited(ledger, rejected=rejected, last_rollback=rejection, undo_to=None, history=history)
    return _routed(route, revisions, ledger)


def _still_rejected(route: AgentRouteSpec, rejection: Rejection) -> Rejection | None:
    """What is rejected from now on: the end of an `undo` leaves the spec's revision as it was."""
    before = route.rollout.rejected
    if before is None or route.rollout.undo_to != rejection.revision:
        return rejection
    return None if before.revision == name_of(route, Role.STABLE) else before


def end_drains(route: AgentRouteSpec, now: datetime) -> AgentRouteSpec:
    """Drop old revisions whose time to drain is over; the same route if there is none."""
    over = {drain.revision for drain in route.rollout.draining if drain.until <= now}
    if not over:
        return route
    drains = tuple(drain for drain in route.rollout.draining if drain.revision not in over)
    revisions = tuple(
        revision for revision in route.revisions if revision.role is not Role.DRAINING or revision.name not in over
    )
    return _routed(route, revisions, _edited(route.rollout, draining=drains))


def bump_lease(route: AgentRouteSpec, now: datetime) -> AgentRouteSpec:
    """Show gateways that the operator still watches the canary; there is nothing to acknowledge."""
    lease = Lease(counter=route.lease.counter + 1, bumped_at=now)
    return route.model_copy(update={"lease": lease})


def _ended(ledger: RolloutLedger) -> RolloutLedger:
    return _edited(
        ledger,
        step_index=0,
        step_since=None,
        started_at=None,
        progress_at=None,
        progress_ready=0,
        available_at=0,
        canary_drain=None,
        promote_full=False,
        analysis=None,
        budget_hold=None,
    )
