"""What was spent: when it is told and kept, and how the ledger goes on after the store has lost its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from agent_api.live_document import LedgerDocument
from agent_api.quantities import dollars, micro_dollars
from agent_api.report import SpendReport
from agent_api.v1alpha1.status import Spend
from agent_operator.core.facts import Reported
from agent_operator.core.reports import is_lost, pick_spend

STEPS = 20
UNLIMITED_STEP_MICRO = 1_000_000
TELL_INTERVAL = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What decides whether figures are written: the day's budget (micro-dollars), a condition that changed, the time.

    `nonce` is a fresh random id, for the ledger that takes the place of a lost one.
    """

    daily_micro: int | None
    changed: bool
    nonce: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Spending:
    """What to tell in `status.spend`, what to keep in the live document, and when to look again (seconds)."""

    told: Spend | None
    ledger: LedgerDocument
    look_again: float | None = None


def next_spending(
    told: Spend | None, ledger: LedgerDocument, reported: Reported | None, occasion: Occasion
) -> Spending:
    """Figures as they are to be written: the same ones unless it is time to write new ones."""
    if reported is None or not reported.latest:
        return Spending(told, ledger)
    if is_lost(reported.latest, ledger):
        return Spending(told, _seeded(ledger, reported.last_spend, occasion.nonce))
    spend = pick_spend(reported.latest, ledger)
    if spend is None:
        reachable = all(report.store is None or report.store.reachable for report in reported.latest)
        return Spending(None if reachable else told, ledger)
    if spend.epoch == ledger.epoch and spend.sequence < ledger.sequence:
        return Spending(told, ledger)
    wait = _wait(told, spend, occasion)
    if wait == 0 or spend.epoch != ledger.epoch:
        return Spending(_spend(spend, occasion), _kept(spend))
    return Spending(told, ledger.model_copy(update={"seed": ""}), wait)


def read_spend(status: Mapping[str, Any]) -> Spend | None:
    """What was told last; None if nothing was, or it was edited by hand."""
    try:
        return Spend.model_validate(status["spend"], extra="ignore")
    except (KeyError, ValidationError):
        return None


def step_micro(daily_micro: int | None) -> int:
    """Smallest change that is told: 5 % of the day's budget, one dollar if there is none."""
    return UNLIMITED_STEP_MICRO if daily_micro is None else max(1, daily_micro // STEPS)


def _wait(told: Spend | None, spend: SpendReport, occasion: Occasion) -> float | None:
    """Seconds until figures may be told; None if nothing worth it happened."""
    if told is None or occasion.changed:
        return 0
    if not _moved(told, spend, occasion.daily_micro):
        return None
    return max(0.0, (told.as_of + TELL_INTERVAL - occasion.now).total_seconds())


def _moved(told: Spend, spend: SpendReport, daily_micro: int | None) -> bool:
    today = micro_dollars(told.today_usd)
    return (
        told.day != spend.day
        or abs(spend.spent_micro - today) >= step_micro(daily_micro)
        or told.remaining_usd != _remaining(today, daily_micro)
    )


def _remaining(spent_micro: int, daily_micro: int | None) -> str | None:
    return None if daily_micro is None else dollars(max(0, daily_micro - spent_micro))


def _spend(spend: SpendReport, occasion: Occasion) -> Spend:
    return Spend(
        day=spend.day,
        today_usd=dollars(spend.spent_micro),
        remaining_usd=_remaining(spend.spent_micro, occasion.daily_micro),
        canary_usd=dollars(spend.canary_micro) if spend.canary_micro else None,
        as_of=occasion.now.replace(microsecond=0),
    )


def _kept(spend: SpendReport) -> LedgerDocument:
    return LedgerDocument(epoch=spend.epoch, sequence=spend.sequence, day=spend.day, spent_micro=spend.spent_micro)


def _seeded(ledger: LedgerDocument, last: SpendReport | None, nonce: str) -> LedgerDocument:
    """The ledger with an id for its successor; once for a lost one, with the most that is known to be spent."""
    if ledger.seed:
        return ledger
    update: dict[str, object] = {"seed": nonce}
    if last is not None and (last.day, last.spent_micro) > (ledger.day, ledger.spent_micro):
        update |= {"day": last.day, "spent_micro": last.spent_micro}
    return ledger.model_copy(update=update)
