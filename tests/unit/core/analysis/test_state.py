"""Stored evidence: exact after a reload, small, and refused with a clear text when damaged."""

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_operator.core.analysis.betting import begin_step, initial_evidence, observe
from agent_operator.core.analysis.evidence import Evidence, Margin
from agent_operator.core.analysis.state import EvidenceStateError, from_state, to_state

MARGIN = Margin(0.02)
LOOK = st.tuples(*[st.integers(0, 300)] * 4)


def after(looks: Sequence[tuple[int, ...]], start: Evidence) -> Evidence:
    for s0, s1, c0, c1 in looks:
        start = observe(start, (s0, s1), (c0, c1), MARGIN)
    return start


@given(before=st.lists(LOOK, max_size=6), later=st.lists(LOOK, max_size=4))
def test_a_reload_between_looks_changes_no_bit(before: list[tuple[int, ...]], later: list[tuple[int, ...]]) -> None:
    evidence = after(before, initial_evidence((970, 30)))
    reloaded = from_state(to_state(evidence))
    assert reloaded == evidence
    assert to_state(after(later, reloaded)) == to_state(after(later, evidence))


def test_state_without_history_survives() -> None:
    evidence = initial_evidence(None)
    assert from_state(to_state(evidence)) == evidence


def test_state_of_a_long_rollout_stays_small() -> None:
    looks = [(123_457, 3_331, 98_765, 4_321)] * 300
    evidence = begin_step(after(looks, initial_evidence((1_000_003, 29_989))))
    assert len(to_state(after([(7, 0, 0, 0), *looks[:2]], evidence))) < 1536


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object"),
        ("{}", "version None"),
        ('{"v":1}', "version 1, this operator reads 2"),
        ('{"v":2}', "lacks fail wealth"),
    ],
)
def test_garbage_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(EvidenceStateError, match=reason):
        from_state(text)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("f", [0.0], "fail wealth must be 7 numbers"),
        ("p", "x", "pass wealth must be 6 numbers"),
        ("p", [0.0] * 5 + [float("nan")], "pass wealth must be finite"),
        ("p", [0.0] * 5 + [10**400], "pass wealth must be finite"),
        ("k", True, "pass peak must be finite"),
        ("b", [0.0, 1.0, 1.0], "baseline must be positive"),
        ("q", [[1, 2]], "pending must be two rows"),
        ("q", [[1, 2], [1, -2]], "pending must be counts of at least 0"),
        ("q", [[1, 2], [1, 2, 3]], "pending must be 2 counts"),
        ("t", [1, 0.0, 1.5, 0.0], "totals must be counts"),
        ("s", [1, 0.0], "step must be four numbers"),
        ("h", "x", "history must be finite"),
        ("t", [1, 2.0, 1, 0.0], "totals must be outcomes"),
        ("d", [0.0, -1.0, 0.0], "differences must be of no negative weight"),
        ("e", [0.0, 1.0, -1.0], "step differences must be of no negative weight"),
    ],
)
def test_a_damaged_field_is_refused_by_name(key: str, value: object, reason: str) -> None:
    raw = json.loads(to_state(initial_evidence(None)))
    with pytest.raises(EvidenceStateError, match=reason):
        from_state(json.dumps(raw | {key: value}))


@given(st.text(max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(EvidenceStateError):
        from_state(text)


def test_the_error_is_a_value_error() -> None:
    assert issubclass(EvidenceStateError, ValueError)
