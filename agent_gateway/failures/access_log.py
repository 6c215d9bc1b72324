"""Failures that only the gateway sees: what Envoy's access log says of answers that no runtime marked. Pure."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent_api.conversation import ConversationId, parse_conversation_id
from agent_api.observations import (
    RETAINED_SECONDS,
    SLOT_SECONDS,
    Observations,
    Slot,
    UnitState,
    UnitTurn,
    conversation_hash,
    offset_ms,
    slot_start,
    user_unit,
)
from agent_api.placement import Placement
from agent_api.unit_sample import UnitSample
from agent_gateway.envoy.log_format import COUNTED_FLAGS, LOG_FIELDS, USERS_CLAIMED
from agent_gateway.envoy.resources import FOLLOW_UP_ROUTE, agent_of_cluster, revision_of_cluster

_SETTLE_SECONDS = 3
MAX_KEPT_SECONDS = 7200
"""Longest that failures wait for a reader who is held up by runs in flight; no run lasts longer than an hour."""
_READER_SECONDS = 60
_CLIENT_LEFT = frozenset({"DC", "DPE"})
_SERVER_ERROR = 500
_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class LoggedUnit:
    """What a failed run is evidence of; `name` is empty where the log does not show it."""

    name: str = ""
    by_user: bool = False
    begins: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed without an answer of the runtime; `unit` is None where no chance chose the revision."""

    agent: str
    revision: str
    epoch: int
    started: float
    first_turn: bool
    unit: LoggedUnit | None


def parse_failure(line: str) -> Failure | None:
    """The failure that a line tells of, or None if it counts as nothing.

    A run is a POST, but not one about a task that exists. Marked answers are the runtime's to count, a client that went
    away is nobody's failure, and an answer with no upstream cluster (suspended, hidden path) never reached a revision.
    """
    try:
        entry = {key: _text(value) for key, value in json.loads(line).items()}
        started = float(entry[LOG_FIELDS.start])
        epoch, status = int(entry[LOG_FIELDS.epoch] or 0), int(entry[LOG_FIELDS.status] or 0)
    except (ValueError, KeyError, AttributeError):
        return None
    flags = frozenset(entry[LOG_FIELDS.flags].split(","))
    failed = bool(flags & COUNTED_FLAGS) or status >= _SERVER_ERROR
    if not failed or flags & _CLIENT_LEFT or entry[LOG_FIELDS.method] != "POST":
        return None
    if entry.get(LOG_FIELDS.route) == FOLLOW_UP_ROUTE:
        return None
    cluster = entry[LOG_FIELDS.cluster]
    if entry[LOG_FIELDS.outcome] or not cluster:
        return None
    revision = revision_of_cluster(cluster)
    known = parse_conversation_id(entry[LOG_FIELDS.conversation])
    continued = known if known is not None and known.revision == revision else None
    begun_in = epoch if continued is None else continued.epoch
    return Failure(
        agent=agent_of_cluster(cluster),
        revision=revision,
        epoch=begun_in,
        started=started,
        first_turn=continued is None,
        unit=_unit_of(entry, continued, begun_in),
    )


def _unit_of(entry: Mapping[str, str], continued: ConversationId | None, epoch: int) -> LoggedUnit | None:
    """The conversation or user that was split; a conversation that never got an id is named when it is counted."""
    split = entry.get(LOG_FIELDS.placement) if continued is None else continued.split
    if split == Placement.SPLIT_BY_USER:
        if entry.get(LOG_FIELDS.users) != USERS_CLAIMED:
            return LoggedUnit(by_user=True)
        user = entry.get(LOG_FIELDS.user)
        if user:
            return LoggedUnit(user_unit(user, epoch), by_user=True)
    if split not in (Placement.SPLIT, Placement.SPLIT_BY_USER):
        return None
    return LoggedUnit("" if continued is None else conversation_hash(str(continued)), begins=continued is None)


def _text(value: object) -> str:
    return "" if value is None or value == _ABSENT else str(value)


@dataclass(slots=True)
class _Count:
    failures: int = 0
    conversations: int = 0
    units: UnitSample[UnitTurn] = field(default_factory=UnitSample)


@dataclass(slots=True)
class _Agent:
    """Failures of one agent by revision, epoch and slot; `since` is from where on its reader asks, and `asked` when."""

    counts: dict[tuple[str, int, int], _Count] = field(default_factory=dict)
    since: int = 0
    asked: float = 0.0

    def prune(self, now: float) -> None:
        """Forget what was read, or what nobody reads; what a reader waits with stays for MAX_KEPT_SECONDS."""
        oldest = slot_start(now) - RETAINED_SECONDS
        if now - self.asked <= _READER_SECONDS:
            oldest = max(min(oldest, self.since), slot_start(now) - MAX_KEPT_SECONDS)
        for key in [key for key in self.counts if key[2] + SLOT_SECONDS <= oldest]:
            del self.counts[key]


class FailureCounts:
    """Failures by agent, revision, epoch and slot, over RETAINED_SECONDS, or until they were read."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.time) -> None:
        """Begin a new count; `clock` is Unix time."""
        self._instance = instance
        self._clock = clock
        self._since = int(clock())
        self._settled = slot_start(clock())
        self._agents: dict[str, _Agent] = {}
        self._nameless = itertools.count()

    def add(self, failure: Failure) -> None:
        """Count a failure in the slot in which its request started.

        A run may fail long after readers took its slot as settled; then it counts in the oldest unsettled slot, so that
        it is never lost.
        """
        if failure.started < self._since:
            return
        start = max(slot_start(failure.started), self._settled)
        key = (failure.revision, failure.epoch, start)
        agent = self._agents.setdefault(failure.agent, _Agent())
        if key not in agent.counts:
            agent.prune(self._clock())
        count = agent.counts.setdefault(key, _Count())
        count.failures += 1
        count.conversations += failure.first_turn
        if failure.unit is not None:
            turn = self._turn(failure.unit, start, failure.started)
            count.units.find(turn.name, lambda: turn)

    def _turn(self, unit: LoggedUnit, start: int, started: float) -> UnitTurn:
        # A caller's request id is no name: one client may send the same with all that it asks. Users whom the log must
        # not show are one unit together in each slot: too little evidence, but never that of one counted as many.
        nameless = f"{self._instance}/{start}" if unit.by_user else f"{self._instance}/{next(self._nameless)}/{started}"
        return UnitTurn(
            name=unit.name or conversation_hash(nameless),
            by_user=unit.by_user,
            begins=unit.begins,
            offset_ms=offset_ms(started, start),
            state=UnitState.FAILED,
        )

    def observations(self, in_flight: int, agent: str | None = None, since: int = 0) -> Observations:
        """What was counted so far; slots that end before `settled_until` change no more.

        With `agent` only its failures, in slots that begin at `since` (Unix time in seconds) or later; those before
        count as read, and are forgotten.
        """
        now = self._clock()
        self._settled = max(self._settled, slot_start(now - _SETTLE_SECONDS))
        if agent in self._agents:
            asked = self._agents[agent]
            asked.since, asked.asked = since, now
        for counted in self._agents.values():
            counted.prune(now)
        self._agents = {name: counted for name, counted in self._agents.items() if counted.counts}
        names = self._agents.keys() if agent is None else self._agents.keys() & {agent}
        slots = tuple(
            _published(*key, count)
            for name in sorted(names)
            for key, count in sorted(self._agents[name].counts.items(), key=lambda item: item[0])
            if key[2] >= since
        )
        return Observations(
            instance=self._instance, since=self._since, settled_until=self._settled, in_flight=in_flight, slots=slots
        )


def _published(revision: str, epoch: int, start: int, count: _Count) -> Slot:
    return Slot(
        revision=revision,
        epoch=epoch,
        start=start,
        requests=count.failures,
        failures=count.failures,
        conversations=count.conversations,
        units=tuple(turn for _, turn in sorted(count.units.items())),
        units_below=count.units.below,
    )
