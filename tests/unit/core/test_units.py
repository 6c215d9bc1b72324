"""Which units a slot holds, over pods, and that none counts twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.observations import UnitState, conversation_hash
from agent_api.v1alpha1.route import MAX_COUNTED_TEXT
from agent_operator.core.counted_units import MAX_COUNTED, CountedUnits, read_counted
from agent_operator.core.units import Answers, Question, answer, units_of
from tests.support.scene import older_slot, unit, units_slot

NAMES = st.text("0123456789abcdef", min_size=12, max_size=12)


def hashes(count: int) -> frozenset[str]:
    return frozenset(conversation_hash(str(number)) for number in range(count))


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    ("state", "failed", "unanswered"),
    [
        (UnitState.OK, False, False),
        (UnitState.FAILED, True, False),
        (UnitState.UNANSWERED, True, True),
        (UnitState.LEFT, None, True),
        (UnitState.RUNNING, "running", "running"),
        (UnitState.SILENT, "running", True),
    ],
)
def test_each_state_answers_or_is_taken_as_told(state, failed, unanswered, running):
    for question, said in ((Question.FIRST, failed), (Question.LATER, failed), (Question.UNANSWERED, unanswered)):
        yes = running if said == "running" else said
        expected = Answers() if yes is None else Answers(1, int(yes))
        assert answer(question, [unit("a", state)], running=running) == expected


def test_answers_are_told_as_no_and_yes():
    assert Answers(7, 2).buckets == (5, 2)


def test_a_unit_begins_if_any_pod_saw_it_begin():
    early, late = unit("a", begins=False, offset_ms=1), unit("a", UnitState.FAILED, offset_ms=2)
    (found,) = units_of([units_slot("v1", 0, late), units_slot("v1", 0, early)]).values()
    assert (found.offset_ms, found.state, found.begins) == (1, UnitState.OK, True)


def test_a_slot_of_an_older_pod_holds_no_units():
    assert units_of([older_slot("v1", 0, 5)]) == {}


@given(st.lists(st.lists(NAMES, unique=True, max_size=10), max_size=4), st.lists(NAMES, max_size=4))
def test_only_what_all_pods_would_have_named_is_kept(pods, limits):
    slots = []
    for number, names in enumerate(pods):
        below = limits[number] if number < len(limits) else ""
        turns = (unit("x").model_copy(update={"name": name}) for name in names if not below or name < below)
        slots.append(units_slot("v1", 0, *turns, below=below))
    lowest = min((slot.units_below for slot in slots if slot.units_below), default="")
    named = {turn.name for slot in slots for turn in slot.units}
    assert set(units_of(slots)) == {name for name in named if not lowest or name < lowest}


# What has counted.


def test_what_has_counted_is_not_admitted_again():
    counted = CountedUnits().adding(hashes(3))
    assert not any(counted.admits(name) for name in hashes(3))
    assert all(counted.has(name) for name in hashes(3))
    assert counted.admits(conversation_hash("new"))
    assert not counted.has(conversation_hash("new"))


def test_too_many_are_halved_by_their_hash_and_the_other_half_is_asked_no_more():
    many = hashes(MAX_COUNTED + 1)
    counted = CountedUnits().adding(many)
    assert counted.halvings == 1
    assert counted.names == {name[:8] for name in many if name[0] < "8"}
    assert counted.admits("7fffffffffff")
    assert not counted.admits("800000000000")


def test_a_full_memory_fits_the_ledger_and_half_a_memory_is_left():
    counted = CountedUnits().adding(hashes(MAX_COUNTED))
    assert (counted.halvings, len(counted.names)) == (0, MAX_COUNTED)
    assert len(str(counted)) <= MAX_COUNTED_TEXT
    many = CountedUnits().adding(hashes(20_000))
    assert MAX_COUNTED // 4 < len(many.names) <= MAX_COUNTED
    assert len(str(many)) <= MAX_COUNTED_TEXT


@given(st.frozensets(NAMES, max_size=20), st.integers(0, 32))
def test_a_memory_is_read_as_it_was_written(names, halvings):
    counted = CountedUnits(halvings=halvings).adding(names)
    assert read_counted(str(counted)) == counted


@pytest.mark.parametrize("text", ["", "x", "0:abc", "33:", "-1:", "0:0000000g", "0:00000000 ", "999:"])
def test_a_damaged_memory_is_an_empty_one(text):
    assert read_counted(text) == CountedUnits()
