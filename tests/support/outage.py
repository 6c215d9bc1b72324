"""A canary whose store goes away for a while, under questions to it and to an agent without budgets."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.support.asking import Noted, asking
from tests.support.lab import Team

PRICE = {"inputPerMillion": "0.15", "outputPerMillion": "0.60"}
BUDGETS = {"daily": {"costUSD": "100"}, "perUserDaily": {"costUSD": "50"}}
NOTICED_SECONDS = 3.0
ANSWERED_SECONDS = 5.0
"""What was asked so long before the store came back was answered without it."""

AWAY = frozenset({"ledger-unavailable", "store-unavailable"})
_STEPS = [{"setWeight": 50}, {"analyze": {}}]
_ANALYSIS = {"metrics": [{"name": "errorRate", "maxIncrease": "0.05"}], "minSamples": 30}


def priced(manifest: dict[str, Any]) -> dict[str, Any]:
    """Manifest of an agent that spends money, within daily budgets."""
    manifest["spec"]["model"]["price"] = PRICE
    manifest["spec"]["budgets"] = BUDGETS
    return manifest


def await_condition(team: Team, agent: str, kind: str, status: str = "True", seconds: float = 60) -> dict[str, Any]:
    """A condition once it has a status; one that is not there is False."""

    def look() -> dict[str, Any] | None:
        found = team.condition(agent, kind) or {"status": "False"}
        return found if found["status"] == status else None

    return team.wait_for(f"{kind} {status} of {agent}", look, seconds)


def ready_endpoints(team: Team, revision: str) -> int:
    """Pods of a revision to which its Service sends."""
    slices = team.lab.api.get(
        f"/apis/discovery.k8s.io/v1/namespaces/{team.namespace}/endpointslices",
        labelSelector=f"kubernetes.io/service-name={revision}",
    )["items"]
    return sum(
        len(endpoint["addresses"])
        for piece in slices
        for endpoint in piece.get("endpoints") or ()
        if endpoint["conditions"].get("ready")
    )


@dataclass
class Outage:
    """What was seen of it; times are Unix seconds."""

    stable: str = ""
    canary: str = ""
    began: float = 0.0
    over: float = 0.0
    paid: list[Noted] = field(default_factory=list)
    free: list[Noted] = field(default_factory=list)
    fewest_endpoints: int = 1
    phases: set[str] = field(default_factory=set)
    reasons: set[str] = field(default_factory=set)
    same_pods: bool = False
    final: dict[str, Any] = field(default_factory=dict)

    @property
    def recovered_after(self) -> float:
        """Seconds from the end of the outage to the end of the last refusal for it."""
        return max((note.sent for note in self.paid + self.free if note.kind in AWAY), default=self.over) - self.over


def canary_without_store(
    team: Team, away: Callable[[], AbstractContextManager[None]], seconds: float, recovery: float, **spec: Any
) -> Outage:
    """Take the store away at weight 50, bring it back, and go on to the end of the rollout."""
    rollout = {"conversationDrain": "5s", "canary": {"steps": _STEPS, "analysis": _ANALYSIS}}
    outage = Outage()
    team.apply(priced(team.agent("paid", rollout=rollout, **spec)), team.agent("free", **spec))
    for agent in ("paid", "free"):
        team.wait_phase(agent, "Healthy")
    with asking(team.url("paid"), 3) as paid, asking(team.url("free"), 2) as free:
        team.apply(priced(team.agent("paid", model="good-2", rollout=rollout, **spec)))
        status = team.wait_weight("paid", 50)
        outage.stable, outage.canary = status["stableRevision"], status["canaryRevision"]
        pods = team.runtime_pods("paid")
        outage.began = time.time()
        with away():
            _watch(team, outage, outage.began + seconds)
            outage.over = time.time()
        outage.same_pods = team.runtime_pods("paid") == pods
        await_condition(team, "paid", "StoreUnavailable", "False", recovery)
        outage.final = team.wait_phase("paid", "Healthy", recovery + 60)
    outage.paid, outage.free = paid.notes(), free.notes()
    return outage


def _watch(team: Team, outage: Outage, until: float) -> None:
    while time.time() < until:
        status = team.status("paid")
        outage.phases.add(status["phase"])
        told = next(
            (c for c in status["conditions"] if c["type"] == "StoreUnavailable" and c["status"] == "True"), None
        )
        if told is not None:
            outage.reasons.add(told["reason"])
        for revision in (outage.stable, outage.canary):
            outage.fewest_endpoints = min(outage.fewest_endpoints, ready_endpoints(team, revision))
        time.sleep(0.5)


def check(outage: Outage, recovery: float) -> None:
    """What must hold of an outage, however long it is and whatever the store lost."""
    without = [
        note
        for note in outage.paid
        if outage.began + NOTICED_SECONDS < note.sent < outage.over - ANSWERED_SECONDS and not note.continues
    ]
    kinds = {(note.status, note.kind) for note in without}
    assert kinds == {(503, "ledger-unavailable")}, kinds
    unanswered = [note for note in outage.paid + outage.free if note.status != 200]
    odd = [note for note in unanswered if (note.status, note.outcome) != (503, "excluded") or note.kind not in AWAY]
    assert not odd, odd[:5]
    free = [note for note in outage.free if note.status != 200 and not note.continues]
    assert not free, free[:5]
    assert outage.recovered_after <= recovery, outage.recovered_after
    assert outage.fewest_endpoints == 1, "the endpoints of a revision were emptied"
    assert outage.same_pods, "pods were replaced or restarted"
    assert outage.phases == {"Progressing"}, outage.phases
    assert outage.reasons == {"Unreachable"}, outage.reasons
    assert outage.final["stableRevision"] == outage.canary, outage.final
    assert "lastRollback" not in outage.final, outage.final
