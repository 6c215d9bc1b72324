"""Failures that only the gateway sees: what Envoy's access log says of answers that no runtime marked. Pure."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agent_api.conversation import parse_conversation_id
from agent_api.observations import (
    MAX_FAILED_CONVERSATIONS,
    RETAINED_SECONDS,
    SLOT_SECONDS,
    Observations,
    Slot,
    conversation_hash,
    slot_start,
)
from agent_gateway.resources import FOLLOW_UP_ROUTE, revision_of_cluster

COUNTED_FLAGS = frozenset({"LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NC", "URX", "UPE"})
"""Response flags of an answer that failed between Envoy and the pod; a client that went away (DC) is none of them."""

FLUSH_SECONDS = 1.0
"""How often Envoy flushes its access logs."""
_SETTLE_SECONDS = 3
_CLIENT_LEFT = frozenset({"DC", "DPE"})
_SERVER_ERROR = 500
_ABSENT = "-"


@dataclass(frozen=True, slots=True)
class _LogFields:
    start: str = "start"
    cluster: str = "cluster"
    route: str = "route"
    epoch: str = "epoch"
    flags: str = "flags"
    status: str = "status"
    outcome: str = "outcome"
    method: str = "method"
    conversation: str = "conversation"
    request_id: str = "request_id"


LOG_FIELDS = _LogFields()
"""Names of the fields of a log line."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed without an answer of the runtime."""

    revision: str
    epoch: int
    started: float
    conversation: str
    first_turn: bool


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
    if entry[LOG_FIELDS.outcome] or not entry[LOG_FIELDS.cluster]:
        return None
    revision, text = revision_of_cluster(entry[LOG_FIELDS.cluster]), entry[LOG_FIELDS.conversation]
    known = parse_conversation_id(text)
    continued = known is not None and known.revision == revision
    return Failure(
        revision=revision,
        epoch=known.epoch if known is not None and continued else epoch,
        started=started,
        conversation=conversation_hash(text if continued else entry[LOG_FIELDS.request_id]),
        first_turn=not continued,
    )


def _text(value: object) -> str:
    return "" if value is None or value == _ABSENT else str(value)


@dataclass(slots=True)
class _Count:
    failures: int = 0
    conversations: int = 0
    hashes: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_FAILED_CONVERSATIONS))


class FailureCounts:
    """Failures by revision, epoch and slot, over RETAINED_SECONDS."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.time) -> None:
        """Begin a new count; `clock` is Unix time."""
        self._instance = instance
        self._clock = clock
        self._since = int(clock())
        self._settled = slot_start(clock())
        self._counts: dict[tuple[str, int, int], _Count] = {}

    def add(self, failure: Failure) -> None:
        """Count a failure in the slot in which its request started.

        A run may fail long after readers took its slot as settled; then it counts in the oldest unsettled slot, so that
        it is never lost.
        """
        if failure.started < self._since:
            return
        start = max(slot_start(failure.started), self._settled)
        count = self._counts.setdefault((failure.revision, failure.epoch, start), _Count())
        count.failures += 1
        count.conversations += failure.first_turn
        count.hashes.append(failure.conversation)

    def observations(self, in_flight: int) -> Observations:
        """What was counted so far; slots that end before `settled_until` change no more."""
        now = self._clock()
        self._settled = max(self._settled, slot_start(now - _SETTLE_SECONDS))
        self._prune(now)
        slots = tuple(
            Slot(
                revision=revision,
                epoch=epoch,
                start=start,
                requests=count.failures,
                failures=count.failures,
                conversations=count.conversations,
                failed_conversations=tuple(count.hashes),
            )
            for (revision, epoch, start), count in sorted(self._counts.items())
        )
        return Observations(
            instance=self._instance, since=self._since, settled_until=self._settled, in_flight=in_flight, slots=slots
        )

    def _prune(self, now: float) -> None:
        oldest = slot_start(now) - RETAINED_SECONDS
        for key in [key for key in self._counts if key[2] + SLOT_SECONDS <= oldest]:
            del self._counts[key]
