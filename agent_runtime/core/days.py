"""Days of a budget: from midnight to midnight of its zone, which is 23 or 25 hours when clocks change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Day:
    """One day; `start` and `end` are Unix times, and the end is the next day's start."""

    name: str
    start: int
    end: int


def days_around(now: float, zone: ZoneInfo) -> tuple[Day, Day, Day]:
    """The day before that of `now`, that of `now`, and the next: for clocks that are not quite ours."""
    today = datetime.fromtimestamp(now, zone).date()
    one = timedelta(days=1)
    return _day(today - one, zone), _day(today, zone), _day(today + one, zone)


def _day(day: date, zone: ZoneInfo) -> Day:
    return Day(day.isoformat(), _midnight(day, zone), _midnight(day + timedelta(days=1), zone))


def _midnight(day: date, zone: ZoneInfo) -> int:
    # Where clocks skip midnight, this is the moment at which they skip it; where they repeat it, the first time.
    return int(datetime.combine(day, time(), zone).timestamp())
