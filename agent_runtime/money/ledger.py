"""The ledger that all pods of an agent share: the worst case of a call is held before it and settled after it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from agent_api.live_document import BudgetsDocument, LiveDocument
from agent_api.quantities import dollars
from agent_api.report import SpendReport
from agent_runtime.core.days import Day, days_around
from agent_runtime.llm.client import BudgetExceeded, LedgerUnavailable
from agent_runtime.money import scripts
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.store.connection import Script, Store

TEND_SECONDS = 2.0
MAX_PENDING = 10_000
"""Settlements that wait for the store; beyond it the oldest are left to the lease, which charges them in full."""

MAX_PENDING_SECONDS = 240.0
"""How long one without a hold waits: afterwards the store may have forgotten that it has it already.

One with a hold waits as long as the hold can be corrected.
"""

CLOSING_SECONDS = 2.0
EXHAUSTED_SECONDS = 60.0
"""How long after a refusal the day's budget is still called used up: smaller calls may fit between larger ones."""

STANDING_SECONDS = 1.0
"""How old the day's sum may be that an answer shows; each settlement tells it anew."""

_log = structlog.get_logger("agent_runtime")
_LOST = "the store lost what was spent; money is refused until the operator has restored it"


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a run; `run_micro` and `run_tokens` are what it took so far."""

    run: str
    user: str
    run_micro: int = 0
    run_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Hold:
    """What was reserved for one call; `epoch` and `day` are empty if nothing was, or the answer did not come."""

    id: str
    user: str
    canary: str
    run: str
    micro: int = 0
    tokens: int = 0
    day: str = ""
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class _Settlement:
    hold: Hold
    micro: int
    tokens: int
    since: float


@dataclass(slots=True)
class _Known:
    """What this process saw of the ledger last: `own` is the sequence of its own last change."""

    epoch: str = ""
    own: int = 0
    seen: int = 0

    def note(self, epoch: str, sequence: int, own: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.own, self.seen = epoch, 0, 0
        self.seen = max(self.seen, sequence)
        self.own = max(self.own, own)


@dataclass(frozen=True, slots=True)
class _Exhausted:
    """The limit of the day that a call did not fit into last, and until when that is told."""

    limit: int = 0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What an agent spent on a day, as this process was told last."""

    day: str
    spent_micro: int


class SpendLedger:
    """Counts what an agent spends, over all pods. One for each process."""

    def __init__(self, store: Store, revision: str, live: Callable[[], LiveDocument]) -> None:
        self._revision = revision
        self._live = live
        self._key = store.key("ledger")
        self._process = secrets.token_hex(8)
        self._reserve: Script = store.script(scripts.RESERVE)
        self._settle: Script = store.script(scripts.SETTLE)
        self._look: Script = store.script(scripts.LOOK)
        self._known = _Known()
        self._lost = False
        self._exhausted = _Exhausted()
        self._standing = Standing("", 0)
        self._told_at = float("-inf")
        self._pending: deque[_Settlement] = deque(maxlen=MAX_PENDING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._days = _Calendar()

    @property
    def lost(self) -> bool:
        """Whether the store lost its data: money is refused until the live document seeds the ledger anew."""
        return self._lost

    @property
    def exhausted(self) -> bool:
        """Whether the agent's day is used up, as far as this process was told; not once the limit was raised."""
        limit = self._live().budgets.daily_micro
        return limit is not None and limit <= self._exhausted.limit and time.time() < self._exhausted.until

    @property
    def unsettled(self) -> int:
        """Calls that ended and wait for the store to be settled."""
        return len(self._pending)

    async def reserve(self, payer: Payer, micro: int, tokens: int, lease_seconds: float) -> Hold:
        """Hold the worst case of one call, in all scopes that are limited or in none.

        Raises
        ------
        BudgetExceeded
            If it does not fit.
        LedgerUnavailable
            If it cannot be counted.
        """
        live = self._live()
        hold = self._hold(payer, live, micro, tokens)
        budgets = live.budgets
        limits = (budgets.request_micro, budgets.request_tokens, budgets.user_daily_micro, budgets.daily_micro)
        arguments = (
            *(hold.id, micro, tokens, lease_seconds, hold.user, hold.canary, hold.run),
            *(payer.run_micro, payer.run_tokens),
            *("" if limit is None else limit for limit in limits),
        )
        try:
            answer = await self._run(self._reserve, live, arguments)
        except (_Untold, asyncio.CancelledError):
            # It may be held all the same. Settled at nothing, it is given back; if it comes later, its id is closed.
            self.settle_soon(hold, 0, 0)
            raise
        match answer:
            case [scripts.OK, epoch, _, _, _, day]:
                return replace(hold, day=day.decode(), epoch=epoch.decode())
            case [scripts.OVER, _, _, _, _, scope, spent, limit, reset]:
                raise self._too_much(scope.decode(), hold, spent, limit, reset)
            case _:
                raise LedgerUnavailable("the reservation was given up")

    async def settle(self, hold: Hold, micro: int, tokens: int) -> None:
        """Replace a hold by what the call took.

        Raises nothing: it is made up for later if the store is away, and in the background if the caller is cancelled.
        """
        try:
            await self._deliver(_Settlement(hold, micro, tokens, time.monotonic()))
        except asyncio.CancelledError:
            self._keep(self._make_up())
            raise

    def settle_soon(self, hold: Hold, micro: int, tokens: int) -> None:
        """Settle in a task that outlives its caller."""
        self._keep(self.settle(hold, micro, tokens))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def unreserved(self, payer: Payer) -> Hold:
        """What to settle for a call that no limit applies to: its cost is counted all the same."""
        return self._hold(payer, self._live(), 0, 0)

    async def spend(self, day: str | None = None) -> SpendReport:
        """What was spent on a day, by default today; raises LedgerUnavailable."""
        live = self._live()
        answer = await self._run(self._look, live, (day or "", live.canary_revision))
        match answer:
            case [scripts.OK, epoch, sequence, _, _, name, spent, canary]:
                limit = live.budgets.daily_micro
                if day is None:
                    self._note_standing(name, spent)
                    if limit is not None and spent >= limit:
                        self._exhausted = _Exhausted(limit, time.time() + EXHAUSTED_SECONDS)
                return SpendReport(
                    day=name.decode(),
                    # A correction may outrun the sums of a ledger that came back older than its holds.
                    spent_micro=max(0, spent),
                    canary_micro=max(0, canary),
                    canary_revision=live.canary_revision,
                    epoch=epoch.decode(),
                    sequence=sequence,
                )
            case _:
                raise LedgerUnavailable("the ledger's answer is not understood")

    async def standing(self) -> Standing:
        """What was spent today, at most STANDING_SECONDS old; raises LedgerUnavailable."""
        if time.monotonic() - self._told_at > STANDING_SECONDS:
            await self.spend()
        return self._standing

    async def run(self) -> None:
        """Look after the ledger, endlessly: sweep, seed, and make up for what could not be settled."""
        while True:
            await self.tend()
            await asyncio.sleep(TEND_SECONDS)

    async def tend(self) -> None:
        """Do once what `run` does."""
        try:
            await self.spend()
        except LedgerUnavailable:
            return
        await self._make_up()

    async def aclose(self) -> None:
        """Settle what is still to be settled, as far as that is possible in a short time."""
        try:
            async with asyncio.timeout(CLOSING_SECONDS):
                if self._tasks:
                    await asyncio.wait(tuple(self._tasks))
                await self._make_up()
        except TimeoutError:
            pass
        if self._pending:
            _log.warning("calls are not settled; they are charged in full", calls=len(self._pending))

    def _hold(self, payer: Payer, live: LiveDocument, micro: int, tokens: int) -> Hold:
        limited = live.budgets.request_micro is not None or live.budgets.request_tokens is not None
        return Hold(
            id=secrets.token_hex(12),
            user=_digest(payer.user),
            canary=self._revision if live.canary_revision == self._revision else "",
            run=_digest(payer.run) if limited else "",
            micro=micro,
            tokens=tokens,
        )

    async def _deliver(self, settlement: _Settlement) -> bool:
        hold = settlement.hold
        arguments = (
            *(hold.id, settlement.micro, settlement.tokens),
            *(hold.user, hold.canary, hold.run, hold.day, hold.epoch),
        )
        try:
            answer = await self._run(self._settle, self._live(), arguments)
        except (LedgerUnavailable, asyncio.CancelledError) as error:
            self._pending.append(settlement)
            if isinstance(error, asyncio.CancelledError):
                raise
            return False
        match answer:
            case [scripts.OK, _, _, _, _, bytes(day), int(spent)] if day:
                self._note_standing(day, spent)
        return True

    def _note_standing(self, day: bytes, spent: int) -> None:
        # A correction may outrun the sums of a ledger that came back older than its holds.
        self._standing = Standing(day.decode(), max(0, spent))
        self._told_at = time.monotonic()

    async def _make_up(self) -> None:
        for _ in range(len(self._pending)):
            settlement = self._pending.popleft()
            waited = time.monotonic() - settlement.since
            longest = scripts.LATE_SECONDS if settlement.hold.epoch else MAX_PENDING_SECONDS
            if waited > longest:
                if settlement.micro or settlement.hold.micro:
                    _log.warning("call is not settled: the store was away too long", micro=settlement.micro)
            elif not await self._deliver(settlement):
                return

    async def _run(self, script: Script, live: LiveDocument, arguments: Sequence[Any]) -> list[Any]:
        known, document = self._known, live.ledger
        prologue = (
            *(self._process, known.epoch, known.own, known.seen),
            *(document.epoch, document.sequence, document.seed, document.day, document.spent_micro),
            *("" if known.epoch else secrets.token_hex(8), self._days.around(live.budgets.time_zone, time.time())),
            f"{self._standing.day} {self._standing.spent_micro}",
        )
        try:
            answer: list[Any] = await script([self._key], [*prologue, *arguments])
        except StoreUnavailable as error:
            raise (_Untold if error.tried else LedgerUnavailable)(str(error)) from None
        status, epoch, sequence, own, swept = answer[:5]
        if swept:
            _log.warning("calls were never settled; they are charged in full", calls=swept)
        self._note_lost(lost=status == scripts.LOST)
        if status == scripts.CLOCK:
            raise LedgerUnavailable("the clocks of store and pod are more than a day apart")
        known.note(epoch.decode(), sequence, own)
        return answer

    def _note_lost(self, *, lost: bool) -> None:
        if lost != self._lost:
            self._lost = lost
            if lost:
                _log.error("ledger is lost: money is refused until the operator has seeded it")
            else:
                _log.info("ledger is restored")
        if lost:
            raise LedgerUnavailable(_LOST)

    def _too_much(self, scope: str, hold: Hold, spent: int, limit: int, reset: int) -> BudgetExceeded:
        if scope == "tokens":
            message = (
                f"the run's {limit} tokens (spec.budgets.perRequest.tokens) do not cover this call:"
                f" {spent} are used or held, and it may take {hold.tokens}"
            )
            return BudgetExceeded("request", message)
        never_fits = hold.micro > limit
        if scope == "agent" and not never_fits:
            self._exhausted = _Exhausted(limit, time.time() + min(reset, EXHAUSTED_SECONDS))
        field = {"request": "perRequest", "user": "perUserDaily", "agent": "daily"}[scope]
        message = (
            f"{dollars(limit)} USD (spec.budgets.{field}.costUSD) do not cover this call:"
            f" {dollars(spent)} are spent or held, and it may cost {dollars(hold.micro)}"
        )
        if never_fits:
            message += "; a shorter question or a lower spec.model.parameters.maxOutputTokens may cost less"
        return BudgetExceeded(scope, message, None if scope == "request" or never_fits else float(reset))


class _Calendar:
    """Days as the scripts read them, kept while they are the same."""

    def __init__(self) -> None:
        self._zone_name = ""
        self._zone = ZoneInfo("UTC")
        self._today: Day | None = None
        self._text = ""

    def around(self, zone_name: str, now: float) -> str:
        """Names, starts and ends of the days around now."""
        today = self._today
        if today is None or zone_name != self._zone_name or not today.start <= now < today.end:
            self._set_zone(zone_name)
            days = days_around(now, self._zone)
            self._today = days[1]
            self._text = " ".join(f"{day.name} {day.start} {day.end}" for day in days)
        return self._text

    def _set_zone(self, name: str) -> None:
        if name == self._zone_name:
            return
        self._zone_name = name
        try:
            self._zone = ZoneInfo(name)
        except (OSError, ValueError, KeyError):
            # The operator refuses such a name; a runtime that knows fewer zones than it goes on with UTC.
            _log.warning("time zone is not known: days are those of UTC", zone=name)
            self._zone = ZoneInfo("UTC")


def is_limited(budgets: BudgetsDocument) -> bool:
    """Whether any sum of money has a limit."""
    limits = (budgets.request_micro, budgets.user_daily_micro, budgets.daily_micro)
    return any(limit is not None for limit in limits)


class _Untold(LedgerUnavailable):
    """The store was asked and did not answer: what it was asked for may have been done."""


def _digest(text: str) -> str:
    """Name that fits into a key and tells nobody who it is."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]
