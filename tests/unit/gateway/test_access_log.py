"""What of Envoy's access log counts, and as what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent_api.observations import MAX_FAILED_CONVERSATIONS, RETAINED_SECONDS, conversation_hash
from agent_gateway.access_log import Failure, FailureCounts, parse_failure

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
        "request_id": "r1",
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
    failure = parse_failure(line(conversation=conversation))
    assert failure is not None
    assert (failure.revision, failure.epoch, failure.first_turn) == ("v1", epoch, first)
    assert failure.conversation == conversation_hash("r1" if first else str(conversation))


def failure(started: float, conversation: str = "c", first_turn: bool = False) -> Failure:
    return Failure("v1", 7, started, conversation, first_turn)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_failures_are_booked_in_the_slot_in_which_the_request_started() -> None:
    clock = Clock()
    counts = FailureCounts("gateway-0", clock)
    for started in (1001, 1004.9, 1005):
        counts.add(failure(started, f"c{started}", first_turn=started == 1001))
    clock.now = 1020.0
    observed = counts.observations(3)
    assert [(s.start, s.requests, s.failures, s.conversations) for s in observed.slots] == [
        (1000, 2, 2, 1),
        (1005, 1, 1, 0),
    ]
    assert observed.slots[0].failed_conversations == ("c1001", "c1004.9")
    assert (observed.since, observed.settled_until, observed.in_flight) == (1000, 1015, 3)


def test_requests_from_before_the_count_do_not_count() -> None:
    counts = FailureCounts("gateway-0", Clock())
    counts.add(failure(999.9))
    assert counts.observations(0).slots == ()


def test_a_settled_slot_never_changes_and_a_late_failure_is_not_lost() -> None:
    clock = Clock()
    counts = FailureCounts("gateway-0", clock)
    clock.now = 1100.0
    settled = counts.observations(0).settled_until
    counts.add(failure(1001))
    (slot,) = counts.observations(0).slots
    assert slot.start == settled == 1095


def test_what_is_settled_never_goes_back() -> None:
    clock = Clock()
    counts = FailureCounts("gateway-0", clock)
    clock.now = 1100.0
    first = counts.observations(0).settled_until
    clock.now = 1050.0
    assert counts.observations(0).settled_until == first


def test_old_slots_and_too_many_hashes_are_dropped() -> None:
    clock = Clock()
    counts = FailureCounts("gateway-0", clock)
    for number in range(MAX_FAILED_CONVERSATIONS + 10):
        counts.add(failure(1001, f"c{number}"))
    (slot,) = counts.observations(0).slots
    assert slot.failures == MAX_FAILED_CONVERSATIONS + 10
    assert len(slot.failed_conversations) == MAX_FAILED_CONVERSATIONS
    clock.now = 1000 + RETAINED_SECONDS
    assert counts.observations(0).slots
    clock.now = 1000 + RETAINED_SECONDS + 10
    assert counts.observations(0).slots == ()
