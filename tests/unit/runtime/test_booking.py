"""Counting of outcomes in slots."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.conversation import ConversationId
from agent_api.observations import (
    MAX_FAILED_CONVERSATIONS,
    RETAINED_SECONDS,
    SLOT_SECONDS,
    Outcome,
    conversation_hash,
)
from agent_runtime.core import booking
from agent_runtime.core.booking import MAX_EPOCHS_PER_SLOT, NO_FACTS, Ledger, RunFacts
from agent_runtime.core.conversations import Turn

T = 1_700_000_000.0
REVISION = "support-5c9f0a1b2d"
OVERDUE = 60.0


@pytest.fixture
def ledger():
    return Ledger("pod-1", REVISION, since=T, overdue_after=OVERDUE)


def turn(name="aaaaaaaa", epoch=1, first=True):
    return Turn(ConversationId(REVISION, epoch, name), first=first)


def book(ledger, outcome, at=T, seconds=1.0, whose=None, facts=NO_FACTS):
    ticket = ledger.begin(at)
    ledger.identify(ticket, whose or turn())
    ledger.end(ticket, outcome, at + seconds, facts)


def test_run_is_booked_in_the_slot_of_its_start(ledger):
    book(ledger, Outcome.OK, at=T + 4.9, seconds=10)
    (slot,) = ledger.observations(T + 20).slots
    assert (slot.start, slot.requests, slot.failures, slot.conversations) == (T, 1, 0, 1)
    assert sum(slot.latency.values()) == 1


def test_later_turn_counts_no_conversation(ledger):
    book(ledger, Outcome.OK, whose=turn(first=False))
    (slot,) = ledger.observations(T + 1).slots
    assert (slot.requests, slot.conversations) == (1, 0)


def test_epochs_are_counted_apart(ledger):
    book(ledger, Outcome.OK, whose=turn(epoch=1))
    book(ledger, Outcome.OK, whose=turn(epoch=2))
    assert [slot.epoch for slot in ledger.observations(T + 5).slots] == [1, 2]


def test_excluded_run_counts_as_nothing(ledger):
    book(ledger, Outcome.EXCLUDED)
    assert ledger.observations(T + 1).slots == ()


def test_what_runs_took_is_summed_in_their_slot(ledger):
    taken = RunFacts(cost_micro=1200, tokens=300, tool_calls=2, tool_failures=1, fell_back=True)
    book(ledger, Outcome.OK, facts=taken)
    book(ledger, Outcome.OK, whose=turn("bbbbbbbb"), facts=RunFacts(cost_micro=800, tokens=100, tool_calls=1))
    (slot,) = ledger.observations(T + 1).slots
    assert (slot.cost_micro, slot.tokens) == (2000, 400)
    assert (slot.tool_calls, slot.tool_failures, slot.fallbacks) == (3, 1, 1)
    assert (slot.cache_hits, slot.guard_blocks) == (0, 0)


def test_what_a_failed_run_took_counts_as_well(ledger):
    book(ledger, Outcome.ERROR, facts=RunFacts(cost_micro=50, tokens=7, tool_calls=1, tool_failures=1))
    (slot,) = ledger.observations(T + 1).slots
    assert (slot.failures, slot.cost_micro, slot.tokens, slot.tool_failures) == (1, 50, 7, 1)


def test_cache_hit_is_left_out_of_latency_cost_and_tokens(ledger):
    book(ledger, Outcome.OK, facts=RunFacts(cost_micro=9, tokens=9, cache_hit=True))
    (slot,) = ledger.observations(T + 1).slots
    assert (slot.requests, slot.conversations, slot.cache_hits) == (1, 1, 1)
    assert (slot.cost_micro, slot.tokens, slot.latency) == (0, 0, {})


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.EXCLUDED])
def test_guard_block_is_a_request_that_counts_and_no_failure(ledger, outcome):
    book(ledger, outcome, facts=RunFacts(guard_blocked=True))
    (slot,) = ledger.observations(T + 1).slots
    assert (slot.requests, slot.failures, slot.guard_blocks, slot.failed_conversations) == (1, 0, 1, ())


def test_guard_block_does_not_end_the_counting_of_its_conversation(ledger):
    book(ledger, Outcome.OK, facts=RunFacts(guard_blocked=True))
    book(ledger, Outcome.OK, whose=turn(first=False))
    assert ledger.observations(T + 1).slots[0].requests == 2


def test_excluded_run_leaves_no_trace_of_what_it_took(ledger):
    book(ledger, Outcome.EXCLUDED, facts=RunFacts(cost_micro=5, tokens=5, tool_calls=1))
    assert ledger.observations(T + 1).slots == ()


def test_overdue_run_is_booked_without_what_it_took_later(ledger):
    ticket = ledger.begin(T)
    ledger.identify(ticket, turn())
    ledger.observations(T + OVERDUE)
    ledger.end(ticket, Outcome.OK, T + OVERDUE + 1, RunFacts(cost_micro=5, cache_hit=True))
    (slot,) = ledger.observations(T + OVERDUE + 1).slots
    assert (slot.failures, slot.cost_micro, slot.cache_hits) == (1, 0, 0)


def test_run_that_nobody_identified_counts_as_nothing(ledger):
    ledger.end(ledger.begin(T), Outcome.ERROR, T + 1)
    assert ledger.observations(T + 1).slots == ()


def test_conversation_counts_up_to_its_first_failure(ledger):
    book(ledger, Outcome.OK)
    book(ledger, Outcome.ERROR, whose=turn(first=False))
    book(ledger, Outcome.OK, whose=turn(first=False))
    book(ledger, Outcome.ERROR, whose=turn(first=False))
    (slot,) = ledger.observations(T + 5).slots
    assert (slot.requests, slot.failures, slot.conversations) == (2, 1, 1)
    assert slot.failed_conversations == (conversation_hash(str(turn().conversation)),)


def test_failures_beyond_the_published_hashes_are_still_counted(ledger):
    for number in range(MAX_FAILED_CONVERSATIONS + 10):
        book(ledger, Outcome.ERROR, whose=turn(f"conversation{number}"))
    (slot,) = ledger.observations(T + 2).slots
    assert slot.failures == MAX_FAILED_CONVERSATIONS + 10
    assert len(slot.failed_conversations) == MAX_FAILED_CONVERSATIONS


def test_forged_epochs_do_not_grow_a_slot(ledger):
    for epoch in range(2 * MAX_EPOCHS_PER_SLOT + 5):
        book(ledger, Outcome.OK, seconds=0.0, whose=turn(epoch=epoch, first=epoch % 2 == 0))
    assert len(ledger.observations(T).slots) <= 2 * MAX_EPOCHS_PER_SLOT


def test_conversations_that_begin_are_counted_whatever_epochs_callers_forge(ledger):
    for epoch in range(100, 200):
        book(ledger, Outcome.OK, seconds=0.0, whose=turn(epoch=epoch, first=False))
    book(ledger, Outcome.ERROR, seconds=0.0, whose=turn("bbbbbbbb", epoch=7))
    slots = {slot.epoch: slot for slot in ledger.observations(T).slots}
    assert len(slots) == MAX_EPOCHS_PER_SLOT + 1
    assert (slots[7].requests, slots[7].failures) == (1, 1)


def test_remembered_failures_are_bounded(ledger, monkeypatch):
    monkeypatch.setattr(booking, "MAX_REMEMBERED_FAILURES", 2)
    for name in ("aaaaaaaa", "bbbbbbbb", "cccccccc", "aaaaaaaa"):
        book(ledger, Outcome.ERROR, seconds=0.0, whose=turn(name))
    assert ledger.observations(T).slots[0].failures == 4
    assert len(ledger._failed) == 2


def test_running_request_holds_the_settled_time_at_its_slot(ledger):
    ledger.begin(T + 7)
    book(ledger, Outcome.OK, at=T + 20)
    observations = ledger.observations(T + 40)
    assert (observations.settled_until, observations.in_flight) == (T + 5, 1)


def test_without_running_requests_everything_before_this_slot_is_settled(ledger):
    assert ledger.observations(T + 23).settled_until == T + 20


def test_overdue_run_is_an_error_and_not_booked_again(ledger):
    ticket = ledger.begin(T)
    ledger.identify(ticket, turn())
    before = ledger.observations(T + OVERDUE - 0.1)
    assert (before.settled_until, before.slots) == (T, ())
    overdue = ledger.observations(T + OVERDUE)
    assert (overdue.settled_until, overdue.in_flight, overdue.slots[0].failures) == (T + OVERDUE, 1, 1)
    ledger.end(ticket, Outcome.OK, T + OVERDUE + 1)
    after = ledger.observations(T + OVERDUE + 2)
    assert (after.slots, after.in_flight) == (overdue.slots, 0)


def test_run_ends_only_once(ledger):
    ticket = ledger.begin(T)
    ledger.end(ticket, Outcome.OK, T)
    with pytest.raises(KeyError):
        ledger.end(ticket, Outcome.OK, T)


def test_old_slots_are_dropped(ledger):
    book(ledger, Outcome.OK)
    assert len(ledger.observations(T + RETAINED_SECONDS).slots) == 1
    assert ledger.observations(T + RETAINED_SECONDS + SLOT_SECONDS).slots == ()


def test_slots_are_kept_while_the_settled_time_is_held():
    ledger = Ledger("pod-1", REVISION, since=T, overdue_after=2 * RETAINED_SECONDS)
    ledger.begin(T)
    book(ledger, Outcome.OK)
    assert len(ledger.observations(T + RETAINED_SECONDS + 100).slots) == 1


def test_clock_that_goes_back_is_held(ledger):
    ledger.observations(T + 50)
    book(ledger, Outcome.OK, at=T)
    (slot,) = ledger.observations(T + 10).slots
    assert slot.start == T + 50


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["begin", "end", "observe"]),
        st.floats(-20, 40),
        st.integers(0, 50),
        st.sampled_from(Outcome),
        st.integers(0, 6),
        st.booleans(),
        st.builds(
            RunFacts,
            cost_micro=st.integers(0, 9),
            tokens=st.integers(0, 9),
            cache_hit=st.booleans(),
            guard_blocked=st.booleans(),
        ),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(ACTIONS)
def test_sums_conserve_and_settled_slots_never_change(actions):
    ledger = Ledger("pod-1", REVISION, since=T, overdue_after=OVERDUE)
    now, begun, settled = T, [], {}
    ended = defaultdict(int)
    taken = 0
    settled_until = 0
    for verb, step, pick, outcome, conversation, first, facts in actions:
        now += step
        if verb == "begin":
            ticket = ledger.begin(now)
            ledger.identify(ticket, turn(f"conversation{conversation}", first=first))
            begun.append(ticket)
        elif verb == "end" and begun:
            ledger.end(begun.pop(pick % len(begun)), outcome, now, facts)
            ended[outcome] += 1
            taken += 0 if facts.cache_hit else facts.cost_micro + facts.tokens
        seen = ledger.observations(now)
        assert seen.settled_until >= settled_until
        settled_until = seen.settled_until
        assert seen.in_flight == len(begun)
        slots = {slot.start: slot for slot in seen.slots}
        for start, slot in settled.items():
            assert start not in slots or slots[start] == slot
        settled = {start: slot for start, slot in slots.items() if start < settled_until}
        requests = sum(slot.requests for slot in seen.slots)
        failures = sum(slot.failures for slot in seen.slots)
        assert all(sum(slot.latency.values()) == slot.requests - slot.cache_hits for slot in seen.slots)
        assert all(slot.guard_blocks <= slot.requests for slot in seen.slots)
        assert sum(slot.cost_micro + slot.tokens for slot in seen.slots) <= taken
        assert all(slot.failures == len(slot.failed_conversations) for slot in seen.slots)
        # What was booked before its end is overdue and still in flight.
        assert requests <= ended[Outcome.OK] + ended[Outcome.ERROR] + ended[Outcome.EXCLUDED] + seen.in_flight
        assert failures <= requests


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([Outcome.OK, Outcome.ERROR]), st.floats(0, 30), st.floats(0, 50))))
def test_every_run_of_its_own_conversation_is_counted_exactly_once(runs):
    ledger = Ledger("pod-1", REVISION, since=T, overdue_after=OVERDUE)
    now = T
    for number, (outcome, gap, seconds) in enumerate(runs):
        now = max(now + gap, T)
        book(ledger, outcome, at=now, seconds=seconds, whose=turn(f"conversation{number}"))
        now += seconds
        if now > T + RETAINED_SECONDS:
            runs = runs[: number + 1]
            break
    slots = ledger.observations(now).slots
    if now < T + RETAINED_SECONDS:
        assert sum(slot.requests for slot in slots) == sum(slot.conversations for slot in slots) == len(runs)
        assert sum(slot.failures for slot in slots) == sum(outcome is Outcome.ERROR for outcome, _, _ in runs)
