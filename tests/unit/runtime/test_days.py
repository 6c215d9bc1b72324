"""Days of a budget."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_runtime.core.days import days_around

ZONES = ("UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia", "America/Havana", "Asia/Beirut")


def day_of(now, zone):
    return days_around(now, zone)[1]


def unix(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("moment", "zone", "name", "hours"),
    [
        ("2026-11-25T12:00", "UTC", "2026-11-25", 24),
        ("2026-11-25T23:30", "Europe/Berlin", "2026-11-26", 24),
        ("2026-03-29T12:00", "Europe/Berlin", "2026-03-29", 23),
        ("2026-10-25T12:00", "Europe/Berlin", "2026-10-25", 25),
        ("2018-11-04T12:00", "America/Sao_Paulo", "2018-11-04", 23),  # clocks skipped midnight
        ("2018-02-17T12:00", "America/Sao_Paulo", "2018-02-17", 25),  # 23:00 came twice
        ("2026-11-01T12:00", "America/Havana", "2026-11-01", 25),  # midnight came twice
        ("2011-12-31T00:00", "Pacific/Apia", "2011-12-31", 24),  # the day before did not happen
        ("2026-07-01T18:14", "Asia/Kathmandu", "2026-07-01", 24),
        ("2026-07-01T18:16", "Asia/Kathmandu", "2026-07-02", 24),
    ],
)
def test_day(moment, zone, name, hours):
    day = day_of(unix(moment), ZoneInfo(zone))
    assert day.name == name
    assert day.end - day.start == hours * 3600


def test_last_second_is_of_the_old_day_and_midnight_of_the_new():
    zone = ZoneInfo("Europe/Berlin")
    midnight = day_of(unix("2026-10-25T12:00"), zone).end
    assert day_of(midnight - 1, zone).name == "2026-10-25"
    assert day_of(midnight, zone).name == "2026-10-26"


@given(now=st.floats(0, 4e9), zone=st.sampled_from(ZONES))
def test_days_follow_each_other_without_a_gap(now, zone):
    before, today, after = days_around(now, ZoneInfo(zone))
    assert before.end == today.start
    assert today.end == after.start
    assert today.start <= now < today.end
    assert today.start <= now < today.end
