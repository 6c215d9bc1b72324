"""From a snapshot of one agent to the facts that the rollout engine decides from."""

from __future__ import annotations

from dataclasses import replace

from agent_api.live_document import BudgetsDocument, LedgerDocument, LiveDocument
from agent_api.v1alpha1.route import AgentRouteSpec, JwtRule, Role
from agent_operator.core import reports, routing
from agent_operator.core.facts import CanarySpend, Knobs, Seen
from agent_operator.core.resources.live import make_live_document, read_live_document
from agent_operator.core.snapshot import Agent, LiveObjects, Snapshot


def see(snapshot: Snapshot, route: AgentRouteSpec) -> Seen:
    """What the rollout engine needs to know of a snapshot."""
    agent = snapshot.agent
    stored = snapshot.route
    return Seen(
        target=_target(snapshot, route),
        replicas=agent.spec.replicas,
        knobs=_knobs(snapshot, route),
        paused=agent.spec.paused,
        rollout=agent.spec.rollout,
        revisions=snapshot.health,
        acknowledged=stored is not None and snapshot.gateways.acknowledged(stored.uid, route),
        recorded=frozenset(snapshot.live.records),
        command=agent.command,
        observations=snapshot.observations,
        complete=snapshot.complete,
        canary_spend=_canary_spend(snapshot, route),
    )


def _knobs(snapshot: Snapshot, route: AgentRouteSpec) -> Knobs:
    """Live knobs of the spec; of one that cannot be used, only the kill switch and the stickiness."""
    spec, jwt = snapshot.agent.spec, snapshot.agent.spec.access.jwt
    suspended, stickiness = spec.suspend, spec.rollout.canary.stickiness
    if not snapshot.readable:
        return replace(routing.knobs_of(route), suspended=suspended, stickiness=stickiness)
    rule = None if jwt is None else JwtRule(issuer=jwt.issuer, audiences=tuple(jwt.audiences), jwks=jwt.jwks)
    return Knobs(
        suspended=suspended,
        stickiness=stickiness,
        description=spec.agent.description or "",
        jwt=rule,
        api_keys=spec.access.api_keys_secret_ref is not None,
    )


def _canary_spend(snapshot: Snapshot, route: AgentRouteSpec) -> CanarySpend | None:
    live = live_document(snapshot.agent, snapshot.live, readable=snapshot.readable)
    return reports.canary_spend(snapshot.reported, live.ledger, live.budgets, routing.name_of(route, Role.CANARY))


def _target(snapshot: Snapshot, route: AgentRouteSpec) -> str:
    """Revision that the spec asks for; while that is not known, the one it asked for before."""
    if snapshot.target is not None and not snapshot.changing:
        return snapshot.target.name
    if route.rollout.rejected is not None:
        return route.rollout.rejected.revision
    return routing.name_of(route, Role.CANARY) or routing.name_of(route, Role.STABLE) or ""


def budgets_of(agent: Agent, live: LiveObjects, *, readable: bool) -> BudgetsDocument:
    """Budgets in force; while the spec cannot be used, those that were before."""
    return live_document(agent, live, readable=readable).budgets


def live_document(agent: Agent, live: LiveObjects, *, readable: bool) -> LiveDocument:
    """What applies live; while the spec cannot be used, what applied before."""
    stored = _stored(live)
    if readable or stored is None:
        return make_live_document(agent.spec, ledger_of(live), "")
    return stored


def _stored(live: LiveObjects) -> LiveDocument | None:
    return None if live.config is None else read_live_document(live.config)


def ledger_of(live: LiveObjects) -> LedgerDocument:
    """What pods are told of the store's ledger; of an agent without a live ConfigMap, nothing."""
    stored = _stored(live)
    return LedgerDocument() if stored is None else stored.ledger
