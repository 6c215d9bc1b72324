"""The sample of units depends on their names alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent_api.observations import MAX_UNITS
from agent_api.unit_sample import UnitSample

NAMES = st.lists(st.text("0123456789abcdef", min_size=2, max_size=3), max_size=200)


@given(NAMES)
def test_the_lowest_names_are_kept_whatever_their_order(names):
    sample: UnitSample[list[int]] = UnitSample()
    for number, name in enumerate(names):
        kept = sample.find(name, list)
        if kept is not None:
            kept.append(number)
    distinct = sorted(set(names))
    assert [name for name, _ in sorted(sample.items())] == distinct[:MAX_UNITS]
    assert sample.below == (distinct[MAX_UNITS] if len(distinct) > MAX_UNITS else "")


@given(NAMES)
def test_what_is_kept_of_a_unit_has_all_that_came_under_its_name(names):
    sample: UnitSample[list[int]] = UnitSample()
    for number, name in enumerate(names):
        kept = sample.find(name, list)
        if kept is not None:
            kept.append(number)
    for name, numbers in sample.items():
        assert numbers == [number for number, other in enumerate(names) if other == name]


def test_a_unit_that_is_left_out_is_not_made():
    sample: UnitSample[str] = UnitSample()
    for number in range(MAX_UNITS + 1):
        sample.find(f"{number:04d}", lambda: "low")
    assert sample.find("9999", lambda: "made") is None
    assert sample.find(sample.below, lambda: "made") is None
