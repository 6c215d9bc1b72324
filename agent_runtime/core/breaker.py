"""When an endpoint that fails is left alone, and when it is tried again. Times are of a clock that never goes back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from agent_api.runtime_document import BreakerDocument
from agent_runtime.core.faults import Fault, FaultKind

BUCKETS = 10
"""Parts of the window; calls leave it a part at a time."""

PROBE_SECONDS = 1.0
"""When to ask again while another call probes."""

_COUNTED_CLIENT_ERRORS = frozenset({401, 402, 403, 404, 408, 429})
"""Answers that say something of the endpoint or its credential, not of the question."""

_CLIENT_ERRORS = range(400, 500)


class Admission(StrEnum):
    """What becomes of a call."""

    CLOSED = "closed"
    PROBE = "probe"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Bucket:
    """Calls that ended in one part of the window."""

    number: int
    calls: int
    failures: int


@dataclass(frozen=True, slots=True)
class BreakerState:
    """What one process knows of an endpoint; `open_until` is None while it is closed."""

    buckets: tuple[Bucket, ...] = ()
    open_until: float | None = None
    probe_until: float = field(default=float("-inf"))


def counts(fault: Fault) -> bool:
    """Whether a failed call speaks against the endpoint."""
    if fault.status is not None and fault.status in _CLIENT_ERRORS:
        return fault.status in _COUNTED_CLIENT_ERRORS
    # A key that is missing here was never shown to the endpoint, and its reason must not hide behind an open breaker.
    return fault.kind not in (FaultKind.CREDENTIAL, FaultKind.REFUSED)


def admission(state: BreakerState, now: float) -> Admission:
    """Whether a call may be made now; a PROBE must be taken with `take_probe` first."""
    if state.open_until is None:
        return Admission.CLOSED
    if now < state.open_until or now < state.probe_until:
        return Admission.OPEN
    return Admission.PROBE


def seconds_to_probe(state: BreakerState, now: float) -> float:
    """How long an open breaker lets nothing through; what a probe under way finds is known soon."""
    return max(0.0, (state.open_until or now) - now, min(state.probe_until - now, PROBE_SECONDS))


def take_probe(state: BreakerState, now: float, lease: float) -> BreakerState:
    """Let one call through; if nothing is heard of it for `lease` seconds, another may be."""
    return replace(state, probe_until=now + lease)


def drop_probe(state: BreakerState) -> BreakerState:
    """Note that the probe ended without telling anything."""
    return replace(state, probe_until=float("-inf"))


def note(
    state: BreakerState, policy: BreakerDocument, now: float, *, failed: bool, retry_after: float = 0.0
) -> BreakerState:
    """Count a call that ended; `retry_after` is how long the endpoint asked to be left alone.

    While it is open, late answers to earlier calls neither close it nor shorten the wait.
    """
    if state.open_until is not None:
        return hold_open(state, now + retry_after) if failed and retry_after else state
    buckets = _counted(state.buckets, policy, now, calls=1, failures=int(failed))
    calls, failures = sum(bucket.calls for bucket in buckets), sum(bucket.failures for bucket in buckets)
    if failed and opens(calls, failures, policy):
        return opened(now, policy, retry_after)
    return replace(state, buckets=buckets)


def note_probe(policy: BreakerDocument, now: float, *, failed: bool, retry_after: float = 0.0) -> BreakerState:
    """State after the probe: closed and forgetting what was, or open for another while."""
    return opened(now, policy, retry_after) if failed else BreakerState()


def opened(now: float, policy: BreakerDocument, retry_after: float = 0.0) -> BreakerState:
    """State that lets nothing through for the time of recovery, or longer if the endpoint asked for it."""
    return BreakerState(open_until=now + max(policy.recovery_seconds, retry_after))


def hold_open(state: BreakerState, until: float) -> BreakerState:
    """Open until a moment, or until the later one that was known: the longest wait wins."""
    return replace(state, buckets=(), open_until=until if state.open_until is None else max(until, state.open_until))


def opens(calls: int, failures: int, policy: BreakerDocument) -> bool:
    """Whether so many failures among so many calls of a window are too many."""
    return failures >= policy.failure_threshold and failures * 100 >= policy.failure_percent * calls


def bucket_seconds(policy: BreakerDocument) -> float:
    """Length of a part of the window."""
    return policy.window_seconds / BUCKETS


def _counted(
    buckets: tuple[Bucket, ...], policy: BreakerDocument, now: float, *, calls: int, failures: int
) -> tuple[Bucket, ...]:
    number = int(now // bucket_seconds(policy))
    kept = tuple(bucket for bucket in buckets if number - BUCKETS < bucket.number)
    if kept and kept[-1].number == number:
        last = kept[-1]
        return (*kept[:-1], Bucket(number, last.calls + calls, last.failures + failures))
    return (*kept, Bucket(number, calls, failures))
