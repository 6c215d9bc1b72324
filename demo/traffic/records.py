"""What a client noted of one request, and a bounded store of it."""

from __future__ import annotations

from collections import deque
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """How a request ended without a whole answer."""

    NONE = ""
    CONNECT = "connect"
    RESET = "reset"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Record:
    """One request; times are Unix seconds, `turn` counts from 1, texts are empty where nothing was received."""

    conversation: int
    turn: int
    turns: int
    request_id: str
    start: float
    end: float
    status: int
    fault: Fault
    revision: str
    body_revision: str
    outcome: str
    sent_id: str
    received_id: str
    detail: str = ""
    tools: str = ""
    """Outcomes of the tools that the run called, with a space between."""
    cost_usd: str = ""
    day: str = ""
    """Day of the budget that `spent_usd` is of: what all runs had cost on it, this one included."""
    spent_usd: str = ""

    def row(self) -> list[Any]:
        """Values in the order of the fields, for JSON."""
        return list(astuple(self))


def record_of(row: list[Any]) -> Record:
    """Record that `row` wrote.

    Raises:
        ValueError, TypeError: the row is not one.
    """
    record = Record(*row)
    return Record(*[*row[:7], Fault(record.fault), *row[8:]])


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, the cursor behind them, and how many were lost before they were asked for."""

    records: tuple[Record, ...]
    cursor: int
    lost: int

    def document(self) -> dict[str, Any]:
        """JSON form."""
        return {"rows": [record.row() for record in self.records], "cursor": self.cursor, "lost": self.lost}


class Journal:
    """The newest records, numbered from 0; the oldest go when it is full."""

    def __init__(self, capacity: int = 50_000) -> None:
        self._records: deque[Record] = deque(maxlen=capacity)
        self._count = 0
        self.failures = 0

    @property
    def count(self) -> int:
        """How many records there were ever."""
        return self._count

    def add(self, record: Record) -> None:
        """Keep a record."""
        self._records.append(record)
        self._count += 1
        self.failures += record.fault is not Fault.NONE or record.status >= 500  # noqa: PLR2004 - HTTP's server errors

    def page(self, cursor: int, limit: int) -> Page:
        """Records from a cursor on, at most `limit`."""
        oldest = self._count - len(self._records)
        begin = max(cursor, oldest)
        skip = begin - oldest
        records = tuple(self._records[index] for index in range(skip, min(skip + limit, len(self._records))))
        return Page(records, begin + len(records), begin - cursor)
