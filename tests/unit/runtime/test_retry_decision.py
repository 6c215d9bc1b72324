"""When a call is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.runtime_document import RetryDocument
from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.core.retry import GiveUp, TryAgain, decide_retry

POLICY = RetryDocument(max_attempts=3, base_delay_seconds=1, max_delay_seconds=30)
DOWN = Fault(FaultKind.UNAVAILABLE, 503)


@pytest.mark.parametrize(
    ("fault", "attempt", "remaining", "chance", "decision"),
    [
        (DOWN, 1, 100, 0.5, TryAgain(0.5)),
        (DOWN, 2, 100, 0.5, TryAgain(1.0)),
        (DOWN, 3, 100, 0.5, GiveUp()),
        (DOWN, 2, 1.0, 0.5, GiveUp()),
        (DOWN, 1, 0, 0.0, GiveUp()),
        (Fault(FaultKind.REFUSED, 400), 1, 100, 0.5, GiveUp()),
        (Fault(FaultKind.CREDENTIAL), 1, 100, 0.5, GiveUp()),
        (Fault(FaultKind.RATE_LIMITED, 429, 5), 1, 100, 0.0, TryAgain(5.0)),
        (Fault(FaultKind.RATE_LIMITED, 429, 5), 1, 100, 0.5, TryAgain(5.5)),
        (Fault(FaultKind.RATE_LIMITED, 429, 30), 1, 100, 0.5, TryAgain(30.0)),
        (Fault(FaultKind.RATE_LIMITED, 429, 31), 1, 100, 0.5, GiveUp()),
        (Fault(FaultKind.RATE_LIMITED, 429, 5), 1, 4.0, 0.0, GiveUp()),
    ],
)
def test_decision(fault, attempt, remaining, chance, decision):
    assert decide_retry(fault, attempt, POLICY, remaining, chance) == decision


@given(
    fault=st.builds(Fault, st.sampled_from(FaultKind), st.none(), st.none() | st.floats(0, 1e6)),
    attempt=st.integers(1, 10_000),
    policy=st.builds(
        lambda attempts, base, longest: RetryDocument(
            max_attempts=attempts, base_delay_seconds=base, max_delay_seconds=longest
        ),
        attempts=st.integers(1, 10_000),
        base=st.floats(0.001, 60),
        longest=st.floats(0.001, 600),
    ),
    remaining=st.floats(-10, 3600),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_delay_keeps_every_bound(fault, attempt, policy, remaining, chance):
    decision = decide_retry(fault, attempt, policy, remaining, chance)
    if isinstance(decision, TryAgain):
        assert fault.kind.retryable
        assert attempt < policy.max_attempts
        assert 0 <= decision.delay <= policy.max_delay_seconds
        assert decision.delay < remaining
        assert fault.retry_after is None or decision.delay >= fault.retry_after
