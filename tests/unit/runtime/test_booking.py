"""Counting of outcomes in slots."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.conversation import ConversationId
from agent_api.observations import MAX_UNITS, RETAINED_SECONDS, SILENT_SECONDS, SLOT_SECONDS, Outcome, UnitState
from agent_runtime.core import booking
from agent_runtime.core.booking import MAX_EPOCHS_PER_SLOT, MAX_RUNS_OF_UNIT, NO_FACTS, Ledger, RunFacts
from agent_runtime.core.conversations import EvidenceUnit, Turn

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
    assert (slot.requests, slot.failures, slot.guard_blocks) == (1, 0, 1)


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


# Units.


def of_unit(name="0" * 12, first=True, by_user=False):
    return Turn(ConversationId(REVISION, 1, "aaaaaaaa"), first=first, unit=EvidenceUnit(name, by_user))


def units_at(ledger, now=T + 4):
    return [unit for slot in ledger.observations(now).slots for unit in slot.units]


def states_at(ledger, now=T + 4):
    return [unit.state for unit in units_at(ledger, now)]


@pytest.mark.parametrize(
    ("outcome", "facts", "opened", "state"),
    [
        (Outcome.OK, NO_FACTS, True, UnitState.OK),
        (Outcome.ERROR, NO_FACTS, False, UnitState.FAILED),
        (Outcome.ERROR, RunFacts(left=True), False, UnitState.UNANSWERED),
        (Outcome.ERROR, RunFacts(left=True), True, UnitState.FAILED),
        (Outcome.EXCLUDED, RunFacts(left=True), False, UnitState.LEFT),
        (Outcome.EXCLUDED, RunFacts(guard_blocked=True), False, UnitState.OK),
    ],
)
def test_unit_says_what_became_of_its_run(ledger, outcome, facts, opened, state):
    ticket = ledger.begin(T + 1.25)
    ledger.identify(ticket, of_unit())
    if opened:
        ledger.opened(ticket)
    ledger.end(ticket, outcome, T + 2, facts)
    (unit,) = units_at(ledger)
    assert (unit.name, unit.begins, unit.by_user, unit.offset_ms, unit.state) == ("0" * 12, True, False, 1250, state)


@pytest.mark.parametrize("facts", [NO_FACTS, RunFacts(left=True)], ids=["refused", "left after the first byte"])
def test_run_that_counts_as_nothing_leaves_its_unit_to_the_next_one(ledger, facts):
    ticket = ledger.begin(T)
    ledger.identify(ticket, of_unit())
    ledger.opened(ticket)
    ledger.end(ticket, Outcome.EXCLUDED, T + 1, facts)
    assert ledger.observations(T + 1).slots == ()
    book(ledger, Outcome.ERROR, at=T + 2, whose=of_unit())
    assert states_at(ledger) == [UnitState.FAILED]


def test_unit_counts_with_the_run_that_started_first_whenever_it_ends(ledger):
    slow = ledger.begin(T)
    ledger.identify(slow, of_unit())
    book(ledger, Outcome.ERROR, at=T + 1, whose=of_unit())
    assert states_at(ledger) == [UnitState.RUNNING]
    ledger.end(slow, Outcome.OK, T + 3)
    assert states_at(ledger) == [UnitState.OK]


def test_run_that_counts_as_nothing_takes_no_other_of_its_unit_away_that_began_with_it(ledger):
    answered, excluded = ledger.begin(T), ledger.begin(T)
    for ticket in (answered, excluded):
        ledger.identify(ticket, of_unit())
    ledger.end(excluded, Outcome.EXCLUDED, T + 1)
    ledger.end(answered, Outcome.OK, T + 1)
    assert states_at(ledger) == [UnitState.OK]


def test_unit_counts_with_the_run_that_started_first_whichever_was_read_first(ledger):
    first, second = ledger.begin(T), ledger.begin(T + 1)
    for ticket in (second, first):
        ledger.identify(ticket, of_unit())
    ledger.end(second, Outcome.ERROR, T + 2)
    ledger.end(first, Outcome.OK, T + 3)
    assert states_at(ledger) == [UnitState.OK]


def test_conversation_begins_where_its_first_turn_is(ledger):
    book(ledger, Outcome.OK, whose=of_unit())
    book(ledger, Outcome.OK, whose=of_unit(first=False))
    book(ledger, Outcome.OK, at=T + 5, whose=of_unit(first=False))
    assert [unit.begins for unit in units_at(ledger, T + 10)] == [True, False]


def test_of_a_user_no_pod_knows_where_he_begins(ledger):
    book(ledger, Outcome.OK, whose=of_unit(by_user=True))
    (unit,) = units_at(ledger)
    assert (unit.by_user, unit.begins) == (True, False)


def test_running_unit_that_says_nothing_is_silent_after_a_while(ledger):
    silent, speaking = ledger.begin(T), ledger.begin(T)
    ledger.identify(silent, of_unit("0" * 12))
    ledger.identify(speaking, of_unit("1" * 12))
    ledger.opened(speaking)
    assert states_at(ledger, T + SILENT_SECONDS - 0.1) == [UnitState.RUNNING, UnitState.RUNNING]
    ledger = Ledger("pod-1", REVISION, since=T, overdue_after=10 * SILENT_SECONDS)
    silent, speaking = ledger.begin(T), ledger.begin(T)
    ledger.identify(silent, of_unit("0" * 12))
    ledger.identify(speaking, of_unit("1" * 12))
    ledger.opened(speaking)
    assert states_at(ledger, T + SILENT_SECONDS) == [UnitState.SILENT, UnitState.RUNNING]


def test_overdue_run_that_said_nothing_is_unanswered(ledger):
    ledger.identify(ledger.begin(T), of_unit())
    assert states_at(ledger, T + OVERDUE) == [UnitState.UNANSWERED]


def test_run_whose_revision_no_chance_chose_is_no_evidence(ledger):
    book(ledger, Outcome.ERROR)
    assert units_at(ledger) == []


def test_slot_names_the_lowest_hashes_whatever_became_of_them(ledger):
    names = [f"{number:012x}" for number in range(MAX_UNITS + 10)]
    for name in reversed(names):
        book(ledger, Outcome.ERROR if name < names[20] else Outcome.OK, whose=of_unit(name))
    (slot,) = ledger.observations(T + 4).slots
    assert [unit.name for unit in slot.units] == names[:MAX_UNITS]
    assert slot.units_below == names[MAX_UNITS]
    assert slot.failures == 1, "all are runs of one conversation, which counts up to its first failure"


def test_runs_of_one_unit_in_a_slot_are_bounded(ledger):
    tickets = [ledger.begin(T) for _ in range(MAX_RUNS_OF_UNIT + 5)]
    for ticket in tickets:
        ledger.identify(ticket, of_unit())
    for ticket in tickets:
        ledger.end(ticket, Outcome.EXCLUDED, T + 1)
    assert units_at(ledger) == []


def test_only_slots_from_a_time_on_are_published_if_asked_so(ledger):
    for at in (T, T + 5, T + 10):
        book(ledger, Outcome.OK, at=at, whose=of_unit())
    assert [slot.start for slot in ledger.observations(T + 20, since=int(T) + 5).slots] == [T + 5, T + 10]


def test_what_was_opened_after_its_end_changes_nothing(ledger):
    ticket = ledger.begin(T)
    ledger.end(ticket, Outcome.OK, T + 1)
    ledger.opened(ticket)
    assert ledger.in_flight == 0


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
            whose = turn(f"conversation{conversation}", first=first)
            ledger.identify(ticket, replace(whose, unit=EvidenceUnit(f"{conversation:012x}", by_user=conversation > 4)))
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
        assert all(len({unit.name for unit in slot.units}) == len(slot.units) for slot in seen.slots)
        unended = {unit.state for slot in settled.values() for unit in slot.units} & {
            UnitState.RUNNING,
            UnitState.SILENT,
        }
        assert not unended
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
