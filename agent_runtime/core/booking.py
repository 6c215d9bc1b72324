"""Counts the outcome of runs in slots of the time they started, for the verdict. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent_api.observations import (
    RETAINED_SECONDS,
    SILENT_SECONDS,
    Observations,
    Outcome,
    Slot,
    UnitState,
    UnitTurn,
    conversation_hash,
    latency_bucket,
    offset_ms,
    slot_start,
)
from agent_api.unit_sample import UnitSample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent_runtime.core.conversations import Turn

MAX_EPOCHS_PER_SLOT = 16
MAX_REMEMBERED_FAILURES = 16_384
MAX_RUNS_OF_UNIT = 8
"""Runs of one unit in one slot, of which the first one that counts is published."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run took, beside its outcome: money in micro-dollars, tokens in both directions.

    A run that a guard blocked is a request that counts, and no failure. `left`: its client went away.
    """

    cost_micro: int = 0
    tokens: int = 0
    cache_hit: bool = False
    tool_calls: int = 0
    tool_failures: int = 0
    fell_back: bool = False
    guard_blocked: bool = False
    left: bool = False


NO_FACTS = RunFacts()
_OVERDUE = RunFacts(left=True)
"""Whoever still waits then has no answer either."""


@dataclass(slots=True, eq=False)
class _UnitRun:
    """A run of a unit, equal to itself alone; `ended` is None while it runs."""

    begun: float
    opened: bool = False
    ended: UnitState | None = None

    def state(self, now: float) -> UnitState:
        if self.ended is not None:
            return self.ended
        silent = not self.opened and now - self.begun >= SILENT_SECONDS
        return UnitState.SILENT if silent else UnitState.RUNNING


@dataclass(slots=True)
class _Unit:
    """Runs of one unit in one slot, in the order of their start, without those that count as nothing."""

    by_user: bool
    begins: bool = False
    runs: list[_UnitRun] = field(default_factory=list)


@dataclass(slots=True)
class _Tally:
    requests: int = 0
    failures: int = 0
    conversations: int = 0
    cost_micro: int = 0
    tokens: int = 0
    cache_hits: int = 0
    tool_calls: int = 0
    tool_failures: int = 0
    fallbacks: int = 0
    guard_blocks: int = 0
    latency: dict[int, int] = field(default_factory=dict)
    units: UnitSample[_Unit] = field(default_factory=UnitSample)

    @property
    def counts(self) -> bool:
        """Whether there is anything to publish."""
        return self.requests > 0 or any(unit.runs for _, unit in self.units.items())

    def add(self, facts: RunFacts, seconds: float) -> None:
        """Count what a run took; one that memory answered says nothing of latency, cost and tokens."""
        self.tool_calls += facts.tool_calls
        self.tool_failures += facts.tool_failures
        self.fallbacks += facts.fell_back
        self.guard_blocks += facts.guard_blocked
        self.cache_hits += facts.cache_hit
        if facts.cache_hit:
            return
        self.cost_micro += facts.cost_micro
        self.tokens += facts.tokens
        bucket = latency_bucket(seconds)
        self.latency[bucket] = self.latency.get(bucket, 0) + 1


@dataclass(slots=True)
class _Running:
    begun: float
    slot: int
    turn: Turn | None = None
    unit: _Unit | None = None
    run: _UnitRun | None = None

    def settle(self, outcome: Outcome, facts: RunFacts) -> None:
        """Say what became of the unit's run; one that counts as nothing is taken away."""
        if self.unit is None or self.run is None:
            return
        state = _state_of(outcome, facts, opened=self.run.opened)
        if state is None:
            self.unit.runs.remove(self.run)
        self.run.ended = state


def _state_of(outcome: Outcome, facts: RunFacts, *, opened: bool) -> UnitState | None:
    if outcome is Outcome.ERROR:
        return UnitState.UNANSWERED if facts.left and not opened else UnitState.FAILED
    if outcome is Outcome.OK or facts.guard_blocked:
        return UnitState.OK
    return UnitState.LEFT if facts.left and not opened else None


class Ledger:
    """What one process has counted for its revision.

    A slot before `settled_until` never changes again: time that goes backwards is held, and a run that is older than
    `overdue_after` seconds is booked as an error then, whatever becomes of it.
    """

    def __init__(self, instance: str, revision: str, since: float, overdue_after: float) -> None:
        self._instance = instance
        self._revision = revision
        self._since = math.ceil(since)
        self._overdue_after = overdue_after
        self._now = since
        self._settled_until = slot_start(since)
        self._last_ticket = 0
        self._running: dict[int, _Running] = {}
        self._overdue: set[int] = set()
        self._slots: OrderedDict[int, dict[int, _Tally]] = OrderedDict()
        self._failed: OrderedDict[str, None] = OrderedDict()

    @property
    def in_flight(self) -> int:
        """Runs that have begun and not ended."""
        return len(self._running) + len(self._overdue)

    def begin(self, now: float) -> int:
        """Note that a run starts; returns the ticket to end it with."""
        self._advance(now)
        self._last_ticket += 1
        self._running[self._last_ticket] = _Running(self._now, slot_start(self._now))
        return self._last_ticket

    def identify(self, ticket: int, turn: Turn) -> None:
        """Say whose turn a running run is, once its body was read; a run nobody identified counts as nothing."""
        running = self._running.get(ticket)
        if running is not None:
            running.turn = turn
            self._sample(running, turn)

    def opened(self, ticket: int) -> None:
        """Note that a running run has shown its client something."""
        running = self._running.get(ticket)
        if running is not None and running.run is not None:
            running.run.opened = True

    def end(self, ticket: int, outcome: Outcome, now: float, facts: RunFacts = NO_FACTS) -> None:
        """Book a run's outcome and what it took, unless it was booked as overdue before.

        Raises
        ------
        KeyError
            If the run has ended before.
        """
        self._advance(now)
        if ticket in self._overdue:
            self._overdue.remove(ticket)
            return
        self._book(self._running.pop(ticket), outcome, self._now, facts)

    def observations(self, now: float, since: int = 0) -> Observations:
        """Everything counted up to now of slots that begin at `since` or later."""
        self._advance(now)
        return Observations(
            instance=self._instance,
            since=self._since,
            settled_until=self._settled_until,
            in_flight=self.in_flight,
            slots=tuple(
                self._published(start, epoch, tally)
                for start, tallies in sorted(self._slots.items())
                if start >= since
                for epoch, tally in sorted(tallies.items())
                if tally.counts
            ),
        )

    def _advance(self, now: float) -> None:
        self._now = max(self._now, now)
        # Runs are kept in the order of their start, so the first is the oldest.
        while self._running:
            ticket, oldest = next(iter(self._running.items()))
            if self._now - oldest.begun < self._overdue_after:
                break
            del self._running[ticket]
            self._overdue.add(ticket)
            self._book(oldest, Outcome.ERROR, oldest.begun + self._overdue_after, _OVERDUE)
        oldest_slot = next((run.slot for run in self._running.values()), slot_start(self._now))
        settled_until = min(oldest_slot, slot_start(self._now))
        if settled_until > self._settled_until:
            self._settled_until = settled_until
            self._forget()

    def _forget(self) -> None:
        # Counted from the settled time, or the runs of a one-hour agent were dropped before anybody may read them.
        horizon = self._settled_until - RETAINED_SECONDS
        for start in [start for start in self._slots if start < horizon]:
            del self._slots[start]

    def _sample(self, running: _Running, turn: Turn) -> None:
        tally = None if turn.unit is None else self._tally(running.slot, turn)
        if tally is None or turn.unit is None or running.run is not None:
            return
        by_user = turn.unit.by_user
        unit = tally.units.find(turn.unit.name, lambda: _Unit(by_user))
        if unit is not None and len(unit.runs) < MAX_RUNS_OF_UNIT:
            running.unit, running.run = unit, _UnitRun(running.begun)
            unit.begins = unit.begins or (turn.first and not by_user)
            unit.runs.append(running.run)
            unit.runs.sort(key=lambda run: run.begun)

    def _book(self, run: _Running, outcome: Outcome, ended: float, facts: RunFacts) -> None:
        run.settle(outcome, facts)
        if run.turn is None or (outcome is Outcome.EXCLUDED and not facts.guard_blocked):
            return
        identity = conversation_hash(str(run.turn.conversation))
        if identity in self._failed:
            return
        tally = self._tally(run.slot, run.turn)
        if outcome is Outcome.ERROR:
            self._remember_failure(identity)
        if tally is None:
            return
        tally.requests += 1
        tally.conversations += run.turn.first
        tally.add(facts, ended - run.begun)
        if outcome is Outcome.ERROR:
            tally.failures += 1

    def _tally(self, start: int, turn: Turn) -> _Tally | None:
        # Callers can forge epochs in the ids that they send: a slot holds a bounded number of them, and runs of further
        # ones are not counted. The epoch of a conversation that begins is the gateway's, and has its place beside them.
        tallies, epoch = self._slots.setdefault(start, {}), turn.conversation.epoch
        if epoch not in tallies and len(tallies) >= MAX_EPOCHS_PER_SLOT * (1 + turn.first):
            return None
        return tallies.setdefault(epoch, _Tally())

    def _remember_failure(self, identity: str) -> None:
        self._failed[identity] = None
        if len(self._failed) > MAX_REMEMBERED_FAILURES:
            self._failed.popitem(last=False)

    def _published(self, start: int, epoch: int, tally: _Tally) -> Slot:
        return Slot(
            revision=self._revision,
            epoch=epoch,
            start=start,
            requests=tally.requests,
            failures=tally.failures,
            conversations=tally.conversations,
            latency=dict(tally.latency),
            cost_micro=tally.cost_micro,
            tokens=tally.tokens,
            cache_hits=tally.cache_hits,
            tool_calls=tally.tool_calls,
            tool_failures=tally.tool_failures,
            fallbacks=tally.fallbacks,
            guard_blocks=tally.guard_blocks,
            units=tuple(self._units_of(start, tally)),
            units_below=tally.units.below,
        )

    def _units_of(self, start: int, tally: _Tally) -> Iterator[UnitTurn]:
        for name, unit in sorted(tally.units.items()):
            if unit.runs:
                run = unit.runs[0]
                yield UnitTurn(
                    name=name,
                    by_user=unit.by_user,
                    begins=unit.begins,
                    offset_ms=offset_ms(run.begun, start),
                    state=run.state(self._now),
                )
