"""What runtime pods report of the state that they share: which of it to believe, and what people must know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from agent_api.live_document import BudgetsDocument, LedgerDocument
from agent_api.meta import ConditionStatus
from agent_api.quantities import dollars
from agent_api.report import RuntimeReport, SpendReport
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.facts import CanarySpend, Reported
from agent_operator.core.snapshot import Problem

MAX_REASON = 300
MAX_NAMED = 8
MAX_EPOCH = 64
MAX_COUNT = 10**15
NEWS_SHARE = 100
NEWS_UNLIMITED_MICRO = 200_000
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

TYPES = frozenset({"StoreUnavailable", "BudgetExhausted", "ModelCircuitOpen", "LedgerLost", "ToolsUnavailable"})
"""Conditions that are written from reports."""

_BRING_FIGURES = TYPES | {"CanaryBudgetExhausted"}


def is_plausible(report: RuntimeReport) -> bool:
    """Whether a report may be used: a runtime image may be anybody's, and must not stop the operator."""
    spend = report.spend
    return spend is None or (
        _DAY.fullmatch(spend.day) is not None
        and len(spend.epoch) <= MAX_EPOCH
        and max(spend.spent_micro, spend.canary_micro, spend.sequence) <= MAX_COUNT
    )


def pick_spend(reports: Iterable[RuntimeReport], ledger: LedgerDocument) -> SpendReport | None:
    """The newest figures, of the ledger that is known if any pod has them."""
    spends = [report.spend for report in reports if report.spend is not None]
    known = (ledger.seed, ledger.epoch)
    ranks = {epoch: rank for rank, epoch in enumerate(reversed(known), start=1) if epoch}
    return max(spends, key=lambda spend: (ranks.get(spend.epoch, 0), spend.day, spend.sequence), default=None)


def is_lost(reports: Iterable[RuntimeReport], ledger: LedgerDocument) -> bool:
    """Whether the store lost its ledger; a pod that has not read the newest live document yet does not decide that."""
    listed = tuple(reports)
    known = {ledger.epoch, ledger.seed} - {""}
    trusted = any(report.spend is not None and report.spend.epoch in known for report in listed)
    return not trusted and any(report.ledger_lost for report in listed)


def canary_spend(
    reported: Reported | None, ledger: LedgerDocument, budgets: BudgetsDocument, canary: str | None
) -> CanarySpend | None:
    """What the canary has spent of its share; None if nobody knows."""
    if budgets.daily_micro is None:
        return CanarySpend(day="", spent_micro=0, share_micro=None)
    spend = None if reported is None else pick_spend(reported.latest, ledger)
    if spend is None or (spend.canary_revision and spend.canary_revision != canary):
        return None
    share = budgets.daily_micro * budgets.canary_share_percent // 100
    return CanarySpend(spend.day, spend.canary_micro, share)


def is_news(before: Reported | None, after: Reported | None, budgets: BudgetsDocument) -> bool:
    """Whether a decision may come out differently: anything but money, or money by a hundredth of the day's budget."""
    if before is None or after is None:
        return before is not after
    return _states(before) != _states(after) or _spent_more(before.last_spend, after.last_spend, budgets)


def _states(reported: Reported) -> tuple[object, ...]:
    latest = reported.latest
    return (
        {(report.store.reachable, report.store.was_reached) for report in reported.recent if report.store is not None},
        _open_models(reported),
        _silent_tools(reported),
        any(report.ledger_lost for report in latest),
        any(report.budget_exhausted for report in latest),
        {report.spend.epoch for report in latest if report.spend is not None},
    )


def _spent_more(before: SpendReport | None, after: SpendReport | None, budgets: BudgetsDocument) -> bool:
    if before is None or after is None:
        return before is not after
    if (before.day, before.epoch) != (after.day, after.epoch):
        return True
    limit = budgets.daily_micro
    least = NEWS_UNLIMITED_MICRO if limit is None else max(1, limit // NEWS_SHARE)
    share = None if limit is None else limit * budgets.canary_share_percent // 100
    crossed = share is not None and (before.canary_micro >= share) is not (after.canary_micro >= share)
    return crossed or abs(after.spent_micro - before.spent_micro) >= least


def problems_of(
    reported: Reported, spec: AgentDeploymentSpec, budgets: BudgetsDocument, ledger: LedgerDocument
) -> tuple[Problem, ...]:
    """What reports say that people must know. The texts hold nothing that changes from poll to poll."""
    return tuple(_problems(reported, spec, budgets, ledger))


def _problems(
    reported: Reported, spec: AgentDeploymentSpec, budgets: BudgetsDocument, ledger: LedgerDocument
) -> Iterator[Problem]:
    away = next((r.store for r in reported.recent if r.store is not None and not r.store.reachable), None)
    if away is not None:
        message = (
            f"the store does not answer ({away.reason[:MAX_REASON] or 'no reason given'}): runs that cost money are"
            f" refused; {store_advice(spec)}"
        )
        yield Problem("StoreUnavailable", "Unreachable", message)
    if is_lost(reported.latest, ledger):
        message = (
            "the store lost its data: runs that cost money are refused until the pods have taken over what was"
            " spent today from status.spend, which takes about two minutes"
        )
        yield Problem("LedgerLost", "StoreLostData", message)
    if any(report.budget_exhausted for report in reported.latest):
        yield Problem("BudgetExhausted", "DailyBudgetSpent", _exhausted(budgets))
    yield from _endpoints(reported, spec)


def _exhausted(budgets: BudgetsDocument) -> str:
    limit = "" if budgets.daily_micro is None else f" of {dollars(budgets.daily_micro)} USD"
    return (
        f"the day's budget{limit} is spent: runs are refused until midnight ({budgets.time_zone}),"
        " or until spec.budgets.daily.costUSD is raised"
    )


def _endpoints(reported: Reported, spec: AgentDeploymentSpec) -> Iterator[Problem]:
    models, tools = _open_models(reported), _silent_tools(reported)
    if models:
        recovery = spec.resilience.circuit_breaker.recovery_timeout
        message = (
            f"model {_list(models)} failed too often and is left alone; one call tries it again every {recovery}"
            " (spec.resilience.circuitBreaker.recoveryTimeout)"
        )
        yield Problem("ModelCircuitOpen", "CircuitOpen", message)
    if tools:
        message = (
            f"tools of {_list(tools)} do not answer: the model works without them; look at the server in spec.tools"
        )
        yield Problem("ToolsUnavailable", "NoAnswer", message)


def _open_models(reported: Reported) -> frozenset[str]:
    return frozenset(breaker.model for report in reported.recent for breaker in report.breakers)


def _silent_tools(reported: Reported) -> frozenset[str]:
    return frozenset(name for report in reported.recent for name in report.tools_unavailable)


def _list(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = "" if len(listed) <= MAX_NAMED else f" and {len(listed) - MAX_NAMED} more"
    return ", ".join(name[:64] for name in listed[:MAX_NAMED]) + more


def store_advice(spec: AgentDeploymentSpec) -> str:
    """Where a person looks when the store cannot be used."""
    if spec.store is None:
        return "see the trial store: kubectl get pods -l app.kubernetes.io/component=store"
    reference = spec.store.url_secret_ref
    return f"see Secret {reference.name} (key {reference.key}), which spec.store names, and that Redis"


def with_told_texts(problems: Iterable[Problem], conditions: Sequence[Mapping[str, Any]]) -> tuple[Problem, ...]:
    """Problems with the text of a condition that stands already for the same reason, if the cause's words may vary."""
    standing = {entry["type"]: entry for entry in conditions if entry["status"] == ConditionStatus.TRUE}
    return tuple(_as_told(problem, standing.get(problem.type)) for problem in problems)


def _as_told(problem: Problem, told: Mapping[str, Any] | None) -> Problem:
    same = told is not None and problem.type == "StoreUnavailable" and told["reason"] == problem.reason
    return Problem(problem.type, problem.reason, str(told["message"])) if same and told is not None else problem


def told(conditions: Sequence[Mapping[str, Any]]) -> set[str]:
    """Types of the conditions that stand and whose coming or going brings the figures of money with it."""
    return {
        entry["type"]
        for entry in conditions
        if entry["type"] in _BRING_FIGURES and entry["status"] == ConditionStatus.TRUE
    }


def carried(conditions: Sequence[Mapping[str, Any]]) -> tuple[Problem, ...]:
    """Problems as conditions tell of them, while no pod was asked yet: a new leader changes nothing by not knowing."""
    return tuple(
        Problem(entry["type"], entry["reason"], entry["message"])
        for entry in conditions
        if entry["type"] in TYPES and entry["status"] == ConditionStatus.TRUE
    )
