"""From a snapshot of one agent to a decision: the bridge between the cluster's objects and the rollout engine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from agent_api.live_document import LedgerDocument, LiveDocument
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import commands, judging, reports, routing
from agent_operator.core.engine.gates import advance
from agent_operator.core.facts import Note, Seen
from agent_operator.core.resources.record import is_record
from agent_operator.core.seeing import budgets_of, ledger_of, live_document, see
from agent_operator.core.snapshot import QUIET_SECONDS, Decision, Problem, Snapshot
from agent_operator.core.spending import Occasion, Spending, next_spending, read_spend


def decide(snapshot: Snapshot, now: datetime) -> Decision:
    """Decide what to do for an agent, at `now`."""
    if snapshot.route is None:
        return _decide_first(snapshot, now)
    route = snapshot.route.spec
    seen = see(snapshot, route)
    transition = advance(route, seen, now)
    changed = transition.route.serial != route.serial
    shared = (*_shared_problems(snapshot, seen, transition.route), *_held(transition.route))
    spending = _spending(snapshot, shared, now)
    return Decision(
        route=transition.route,
        seen=seen,
        notes=transition.notes,
        problems=(
            *snapshot.problems,
            *_lost_records(snapshot, transition.route),
            *_pod_problems(seen, transition.route),
            *shared,
        ),
        waiting=transition.waiting,
        look_again=_look_again(snapshot, transition.look_again, spending.look_again),
        judgement=judging.judge(transition.route, seen, now),
        behind_seconds=judging.behind_seconds(transition.route, seen, now),
        acknowledged=seen.acknowledged and not changed,
        overdue=transition.overdue,
        live=_live(snapshot, spending.ledger, routing.name_of(transition.route, Role.CANARY)),
        spend=spending.told,
    )


def _live(snapshot: Snapshot, ledger: LedgerDocument, canary: str | None) -> LiveDocument:
    document = live_document(snapshot.agent, snapshot.live, readable=snapshot.readable)
    return document.model_copy(update={"ledger": ledger, "canary_revision": canary or ""})


def _shared_problems(snapshot: Snapshot, seen: Seen, route: AgentRouteSpec) -> tuple[Problem, ...]:
    """What pods say of the store, the budget, models and tools; while none was asked, what was said before."""
    agent, conditions = snapshot.agent, snapshot.agent.status.get("conditions", ())
    waiting = tuple(_store_awaited(agent.spec, seen, route))
    if snapshot.reported is None:
        known = {problem.type for problem in waiting}
        return (*waiting, *(problem for problem in reports.carried(conditions) if problem.type not in known))
    live = live_document(agent, snapshot.live, readable=snapshot.readable)
    said = reports.problems_of(snapshot.reported, agent.spec, live.budgets, live.ledger)
    return reports.with_told_texts((*waiting, *said), conditions)


def _store_awaited(spec: AgentDeploymentSpec, seen: Seen, route: AgentRouteSpec) -> Iterator[Problem]:
    for entry in route.revisions:
        health = seen.health(entry.name)
        if health.waits_for_store:
            message = (
                f"{entry.name}: {health.not_ready_reason}; its pods wait for their store, and no deadline runs:"
                f" {reports.store_advice(spec)}"
            )
            yield Problem("StoreUnavailable", "NeverReached", message)


def _held(route: AgentRouteSpec) -> Iterator[Problem]:
    hold = route.rollout.budget_hold
    if hold is not None and hold.held:
        message = (
            "the canary has spent its share (spec.budgets.canarySharePercent) of the day's budget and gets no new"
            " conversations; it goes on when the day is over, or by `kubectl agent promote`"
        )
        yield Problem("CanaryBudgetExhausted", "CanaryBudgetExhausted", message)


def _spending(snapshot: Snapshot, shared: tuple[Problem, ...], now: datetime) -> Spending:
    """What to tell of money; a condition that comes or goes brings the figures with it."""
    status = snapshot.agent.status
    before = reports.told(status.get("conditions", ()))
    occasion = Occasion(
        daily_micro=budgets_of(snapshot.agent, snapshot.live, readable=snapshot.readable).daily_micro,
        changed=before != {problem.type for problem in shared},
        nonce=snapshot.nonce,
        now=now,
    )
    return next_spending(read_spend(status), ledger_of(snapshot.live), snapshot.reported, occasion)


def _look_again(snapshot: Snapshot, *wanted: float | None) -> float | None:
    """The earliest of what is wanted; None: on change."""
    quiet = QUIET_SECONDS if snapshot.changing else None
    return min((seconds for seconds in (*wanted, quiet) if seconds is not None), default=None)


def _decide_first(snapshot: Snapshot, now: datetime) -> Decision:
    """Make the route of an agent that has none: with its recorded stable revision if there is one."""
    if snapshot.target is None:
        return Decision(route=None, problems=snapshot.problems)
    if snapshot.changing:
        return Decision(route=None, waiting="waiting for the instructions to settle", look_again=QUIET_SECONDS)
    if snapshot.free_port is None:
        message = "every port of the gateway's range is taken in this namespace; widen portRange in the chart"
        problem = Problem(type="PortsExhausted", reason="PortsExhausted", message=message)
        return Decision(route=None, problems=(*snapshot.problems, problem))
    known = snapshot.agent.status.get("stableRevision")
    stable = known if isinstance(known, str) and known in snapshot.live.records else snapshot.target.name
    route = routing.first_route(snapshot.free_port, stable, now, serial=snapshot.last_serial + 1)
    if stable == known:
        route = routing.edit_ledger(route, stable_available=True, history=(stable,), started_at=None, progress_at=None)
    note = Note(warning=False, reason="RevisionCreated", message=f"{stable} is the first revision")
    return Decision(
        route=commands.ignore_first(route, snapshot.agent.command),
        seen=see(snapshot, route),
        notes=(note,),
        problems=snapshot.problems,
        look_again=0,
        live=_live(snapshot, ledger_of(snapshot.live), None),
    )


def _lost_records(snapshot: Snapshot, route: AgentRouteSpec) -> tuple[Problem, ...]:
    target = None if snapshot.target is None else snapshot.target.name
    records = {**snapshot.remembered, **snapshot.live.records}
    names = [revision.name for revision in route.revisions]
    lost = [n for n in names if (n not in records and n != target) or (n in records and not is_record(records[n]))]
    if not lost:
        return ()
    message = (
        f"the record of {', '.join(lost)} was deleted or replaced; its pods go on as they are, but cannot be made"
        " again: apply a spec that makes a new revision"
    )
    return (Problem(type="RecordLost", reason="RecordDeleted", message=message),)


def _pod_problems(seen: Seen, route: AgentRouteSpec) -> Iterator[Problem]:
    """What pods of serving revisions say of why they do not work."""
    for entry in route.revisions:
        health = seen.health(entry.name)
        if health.failure is not None:
            yield Problem("PodsFailing", health.failure.reason.value, f"{entry.name}: {health.failure.message}")
        elif health.not_ready_reason:
            yield Problem("PodsNotReady", "NotReady", f"{entry.name}: {health.not_ready_reason}")
