"""When an endpoint is left alone, decided without a clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.runtime_document import BreakerDocument
from agent_runtime.core.breaker import (
    Admission,
    BreakerState,
    admission,
    counts,
    drop_probe,
    hold_open,
    note,
    note_probe,
    opened,
    opens,
    seconds_to_probe,
    take_probe,
)
from agent_runtime.core.faults import Fault, FaultKind

POLICY = BreakerDocument(failure_threshold=5, failure_percent=50, window_seconds=60, recovery_seconds=30)


def after(outcomes, policy=POLICY, start=1000.0, every=1.0):
    """State after calls that ended, `x` for a failure."""
    state = BreakerState()
    for position, outcome in enumerate(outcomes):
        state = note(state, policy, start + position * every, failed=outcome == "x")
    return state


@pytest.mark.parametrize(
    ("outcomes", "open_"),
    [
        ("", False),
        ("xxxx", False),  # fewer than the threshold
        ("xxxxx", True),
        (".....xxxxx", True),  # exactly the share
        ("......xxxxx", False),  # less than the share
        ("xxxxx.....", True),
        ("......" + "x" * 6, True),
    ],
)
def test_opens_by_number_and_share_of_failures(outcomes, open_):
    assert (after(outcomes).open_until is not None) is open_


def test_failures_leave_the_window():
    assert after("xxxxx", every=20.0).open_until is None
    assert after("xxxxx", every=10.0).open_until is not None


def test_it_is_open_for_the_recovery_time_and_then_lets_one_probe_through():
    state = after("xxxxx")
    assert state.open_until == 1004 + 30
    assert admission(state, 1033.9) is Admission.OPEN
    assert admission(state, 1034.0) is Admission.PROBE
    probing = take_probe(state, 1034.0, lease=10)
    assert admission(probing, 1035.0) is Admission.OPEN
    assert seconds_to_probe(probing, 1035.0) == 1.0
    assert admission(probing, 1044.0) is Admission.PROBE  # nothing was heard of the first
    assert admission(drop_probe(probing), 1035.0) is Admission.PROBE


def test_probe_decides():
    assert note_probe(POLICY, 1040.0, failed=False) == BreakerState()
    assert note_probe(POLICY, 1040.0, failed=True).open_until == 1070


def test_longest_wait_wins():
    state = opened(1000.0, POLICY, retry_after=120)
    assert state.open_until == 1120
    assert note(state, POLICY, 1010.0, failed=True, retry_after=20).open_until == 1120
    assert note(state, POLICY, 1010.0, failed=True, retry_after=200).open_until == 1210
    assert hold_open(state, 1050).open_until == 1120


def test_late_answers_neither_close_it_nor_count():
    state = opened(1000.0, POLICY)
    assert note(state, POLICY, 1001.0, failed=False) == state
    assert note(state, POLICY, 1001.0, failed=True) == state


@pytest.mark.parametrize(
    ("fault", "counted"),
    [
        *((Fault(FaultKind.REFUSED, status), True) for status in (401, 402, 403, 404)),
        *((Fault(FaultKind.REFUSED, status), False) for status in (400, 405, 413, 422)),
        (Fault(FaultKind.UNAVAILABLE, 408), True),
        (Fault(FaultKind.UNAVAILABLE, 409), False),
        (Fault(FaultKind.RATE_LIMITED, 429), True),
        (Fault(FaultKind.UNAVAILABLE, 500), True),
        (Fault(FaultKind.UNAVAILABLE, 529), True),
        (Fault(FaultKind.CONNECTION), True),
        (Fault(FaultKind.FIRST_TOKEN_TIMEOUT), True),
        (Fault(FaultKind.CUT), True),
        (Fault(FaultKind.MALFORMED), True),
        (Fault(FaultKind.CREDENTIAL), False),
    ],
)
def test_what_speaks_against_an_endpoint(fault, counted):
    assert counts(fault) is counted


@given(
    outcomes=st.lists(st.tuples(st.booleans(), st.floats(0, 30)), max_size=60),
    threshold=st.integers(1, 20),
    percent=st.integers(1, 100),
)
def test_it_never_opens_below_its_threshold(outcomes, threshold, percent):
    policy = BreakerDocument(
        failure_threshold=threshold, failure_percent=percent, window_seconds=60, recovery_seconds=30
    )
    state, now = BreakerState(), 0.0
    for failed, pause in outcomes:
        now += pause
        state = note(state, policy, now, failed=failed)
        assert len(state.buckets) <= 10
    failures = sum(failed for failed, _ in outcomes)
    if state.open_until is not None:
        assert failures >= threshold


@pytest.mark.parametrize(
    ("now", "lease", "seconds"),
    [(1000.0, None, 30.0), (1029.5, None, 0.5), (1031.0, None, 0.0), (1031.0, 0.25, 0.25), (1031.0, 20.0, 1.0)],
)
def test_the_wait_is_for_the_recovery_and_then_for_what_the_probe_under_way_finds(now, lease, seconds):
    state = opened(1000.0, POLICY)
    if lease is not None:
        state = take_probe(state, now, lease)
    assert seconds_to_probe(state, now) == seconds


def test_a_closed_breaker_lets_calls_through_at_once():
    assert admission(BreakerState(), 1000.0) is Admission.CLOSED
    assert seconds_to_probe(BreakerState(), 1000.0) == 0.0


@pytest.mark.parametrize(
    ("failures", "calls", "open_"), [(5, 10, True), (5, 11, False), (51, 101, True), (50, 101, False)]
)
def test_the_share_of_failures_is_counted_to_the_last_call(failures, calls, open_):
    assert opens(calls, failures, POLICY) is open_
