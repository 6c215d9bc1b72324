"""Whether and when a failed model call is tried again at the same endpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent_api.runtime_document import RetryDocument
    from agent_runtime.core.faults import Fault


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Ask the same endpoint again after `delay` seconds."""

    delay: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave this endpoint."""


def decide_retry(
    fault: Fault, attempt: int, policy: RetryDocument, remaining: float, chance: float
) -> TryAgain | GiveUp:
    """Decide after the `attempt`-th call (from 1) failed.

    The delay is full jitter under an exponential ceiling. A Retry-After is a floor, spread by up to one base delay; one
    that is longer than `max_delay_seconds` or than the run's `remaining` seconds is not waited for. `chance` is uniform
    in [0, 1).
    """
    if not fault.kind.retryable or attempt >= policy.max_attempts:
        return GiveUp()
    if fault.retry_after is None:
        delay = chance * _ceiling(attempt, policy)
    elif fault.retry_after > policy.max_delay_seconds:
        return GiveUp()
    else:
        delay = min(fault.retry_after + chance * policy.base_delay_seconds, policy.max_delay_seconds)
    return TryAgain(delay) if delay < remaining else GiveUp()


def _ceiling(attempt: int, policy: RetryDocument) -> float:
    # 2 ** 62 keeps the power a float for any attempt; the cap is far below it.
    return float(min(policy.max_delay_seconds, policy.base_delay_seconds * 2.0 ** min(attempt - 1, 62)))
