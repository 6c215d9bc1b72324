"""What of Envoy's access log counts, and as what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_api.observations import (
    MAX_UNITS,
    RETAINED_SECONDS,
    UnitState,
    UnitTurn,
    conversation_hash,
    user_unit,
)
from agent_gateway.failures.access_log import MAX_KEPT_SECONDS, Failure, FailureCounts, LoggedUnit, parse_failure

TOKEN = "0123456789abcdef"


def line(**fields: Any) -> str:
    defaults = {
        "start": "1000.500",
        "cluster": "support/v1",
        "epoch": "7",
        "flags": "UF",
        "status": 503,
        "outcome": None,
        "method": "POST",
        "conversation": None,
    }
    return json.dumps({**defaults, **fields})


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"flags": "URX,UF"}, True),
        ({"flags": "UC"}, True),
        ({"flags": "UH"}, True),
        ({"flags": "-", "status": 500}, True),
        ({"flags": "-", "status": 500, "outcome": "error"}, False),
        ({"flags": "-", "status": 200}, False),
        ({"flags": "-", "status": 413}, False),
        ({"flags": "DC", "status": 0}, False),
        ({"flags": "DC,UC"}, False),
        ({"method": "GET"}, False),
        ({"route": "follow-up"}, False),
        ({"route": "split"}, True),
        ({"cluster": None}, False),
        ({"cluster": "-"}, False),
    ],
)
def test_only_runs_that_failed_before_a_marked_answer_count(fields: dict[str, Any], counts: bool) -> None:
    assert (parse_failure(line(**fields)) is not None) is counts


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"start": "x"}'])
def test_lines_that_are_no_entries_count_nothing(text: str) -> None:
    assert parse_failure(text) is None


@pytest.mark.parametrize(
    ("conversation", "epoch", "first"),
    [(None, 7, True), (f"v1.3.{TOKEN}", 3, False), (f"v9.3.{TOKEN}", 7, True), ("foreign", 7, True)],
)
def test_the_epoch_is_that_in_which_the_conversation_began_on_this_revision(
    conversation: str | None, epoch: int, first: bool
) -> None:
    found = parse_failure(line(conversation=conversation))
    assert found is not None
    assert (found.agent, found.revision, found.epoch, found.first_turn) == ("support", "v1", epoch, first)


SPLIT_ID, BY_USER_ID, WHOLE_ID = (f"v1.7.{TOKEN}{mark}" for mark in "suw")


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({"placement": "split"}, LoggedUnit(begins=True)),
        ({"placement": "split", "user": "ann"}, LoggedUnit(begins=True)),
        ({"placement": "split-by-user", "users": "claimed", "user": "ann"}, LoggedUnit(user_unit("ann", 7), True)),
        ({"placement": "split-by-user", "users": "claimed"}, LoggedUnit(begins=True)),
        ({"placement": "split-by-user", "users": "proven", "user": "ann"}, LoggedUnit(by_user=True)),
        ({"placement": "pinned", "conversation": SPLIT_ID}, LoggedUnit(conversation_hash(SPLIT_ID))),
        (
            {"placement": "pinned", "conversation": BY_USER_ID, "users": "claimed", "user": "ann"},
            LoggedUnit(user_unit("ann", 7), True),
        ),
        ({"placement": "pinned", "conversation": BY_USER_ID, "users": "proven"}, LoggedUnit(by_user=True)),
        ({"placement": "pinned", "conversation": WHOLE_ID}, None),
        ({"placement": "pinned", "conversation": f"v1.7.{TOKEN}"}, None),
        ({"placement": "foreign", "conversation": "mine"}, None),
        ({"placement": "whole"}, None),
        ({}, None),
    ],
)
def test_a_failure_is_evidence_of_what_was_split(fields: dict[str, Any], unit: LoggedUnit | None) -> None:
    found = parse_failure(line(**fields))
    assert found is not None
    assert found.unit == unit


NEW = LoggedUnit(begins=True)


def failure(
    started: float, unit: LoggedUnit | None = NEW, *, first_turn: bool = False, agent: str = "support"
) -> Failure:
    return Failure(agent, "v1", 7, started, first_turn, unit)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def counting(clock: Clock) -> FailureCounts:
    return FailureCounts("gateway-0", clock)


def test_failures_are_booked_in_the_slot_in_which_the_request_started() -> None:
    clock = Clock()
    counts = counting(clock)
    for started in (1001, 1004.9, 1005):
        counts.add(failure(started, first_turn=started == 1001))
    clock.now = 1020.0
    observed = counts.observations(3)
    assert [(s.start, s.requests, s.failures, s.conversations) for s in observed.slots] == [
        (1000, 2, 2, 1),
        (1005, 1, 1, 0),
    ]
    assert sorted(unit.offset_ms for unit in observed.slots[0].units or ()) == [1000, 4900]
    assert (observed.since, observed.settled_until, observed.in_flight) == (1000, 1015, 3)


def units(counts: FailureCounts) -> list[UnitTurn]:
    return [unit for slot in counts.observations(0).slots for unit in slot.units or ()]


def test_each_new_conversation_that_failed_is_a_unit_of_its_own() -> None:
    counts = counting(Clock())
    for _ in range(10):
        counts.add(failure(1001))
    assert len({unit.name for unit in units(counts)}) == 10
    assert {(unit.begins, unit.by_user, unit.state) for unit in units(counts)} == {(True, False, UnitState.FAILED)}


def test_two_gateways_name_new_conversations_apart() -> None:
    pods = [FailureCounts(f"gateway-{number}", Clock()) for number in range(2)]
    for pod in pods:
        pod.add(failure(1001))
    assert units(pods[0])[0].name != units(pods[1])[0].name


def test_a_named_unit_counts_once_a_slot() -> None:
    counts = counting(Clock())
    for started in (1001, 1002, 1006):
        counts.add(failure(started, LoggedUnit("0123456789ab")))
    assert [(unit.name, unit.offset_ms) for unit in units(counts)] == [("0123456789ab", 1000), ("0123456789ab", 1000)]


def test_users_whom_the_log_must_not_name_are_one_unit_in_each_slot() -> None:
    counts = counting(Clock())
    for started in (1001, 1002, 1006):
        counts.add(failure(started, LoggedUnit(by_user=True)))
    assert len({unit.name for unit in units(counts)}) == 2
    assert all(unit.by_user and not unit.begins for unit in units(counts))


def test_what_is_no_evidence_is_counted_without_a_unit() -> None:
    counts = counting(Clock())
    counts.add(failure(1001, None))
    (slot,) = counts.observations(0).slots
    assert (slot.failures, slot.units) == (1, ())


def test_requests_from_before_the_count_do_not_count() -> None:
    counts = counting(Clock())
    counts.add(failure(999.9))
    assert counts.observations(0).slots == ()


def test_a_settled_slot_never_changes_and_a_late_failure_is_not_lost() -> None:
    clock = Clock()
    counts = counting(clock)
    clock.now = 1100.0
    settled = counts.observations(0).settled_until
    counts.add(failure(1001))
    (slot,) = counts.observations(0).slots
    assert slot.start == settled == 1095


def test_what_is_settled_never_goes_back() -> None:
    clock = Clock()
    counts = counting(clock)
    clock.now = 1100.0
    first = counts.observations(0).settled_until
    clock.now = 1050.0
    assert counts.observations(0).settled_until == first


def test_an_outage_names_a_bounded_number_of_units_and_counts_all() -> None:
    counts = counting(Clock())
    for _ in range(MAX_UNITS + 10):
        counts.add(failure(1001))
    (slot,) = counts.observations(0).slots
    assert (slot.failures, len(slot.units or ()), slot.units_below > "") == (MAX_UNITS + 10, MAX_UNITS, True)


def test_one_agents_outage_is_in_no_other_agents_answer() -> None:
    counts = counting(Clock())
    for _ in range(100):
        counts.add(failure(1001, agent="loud"))
    counts.add(failure(1001))
    assert [slot.failures for slot in counts.observations(0, "support").slots] == [1]
    assert counts.observations(0, "unknown").slots == ()
    assert [slot.failures for slot in counts.observations(0).slots] == [100, 1]


def test_only_slots_from_a_time_on_are_answered_if_asked_so() -> None:
    counts = counting(Clock())
    for started in (1001, 1006, 1011):
        counts.add(failure(started))
    assert [slot.start for slot in counts.observations(0, "support", 1005).slots] == [1005, 1010]


def test_what_nobody_reads_is_forgotten() -> None:
    clock = Clock()
    counts = counting(clock)
    counts.add(failure(1001))
    clock.now = 1000 + RETAINED_SECONDS
    assert counts.observations(0).slots
    clock.now = 1000 + RETAINED_SECONDS + 10
    assert counts.observations(0).slots == ()


def test_failures_stay_until_their_reader_has_read_them_however_long_a_run_holds_him_up() -> None:
    clock = Clock()
    counts = counting(clock)
    counts.add(failure(1001))
    for minutes in range(100):
        clock.now = 1000.0 + 60 * minutes
        assert [slot.start for slot in counts.observations(0, "support", 1000).slots] == [1000]
    assert counts.observations(0, "support", 1005).slots == ()


def test_even_for_a_reader_failures_do_not_stay_for_ever() -> None:
    clock = Clock()
    counts = counting(clock)
    counts.add(failure(1001))
    clock.now = 1000.0 + MAX_KEPT_SECONDS + 10
    assert counts.observations(0, "support", 1000).slots == ()


def test_what_nobody_asks_for_is_forgotten_while_it_is_counted() -> None:
    clock = Clock()
    counts = counting(clock)
    for minutes in range(200):
        clock.now = 1000.0 + 60 * minutes
        counts.add(failure(clock.now))
    assert len(counts._agents["support"].counts) <= RETAINED_SECONDS // 60 + 1
