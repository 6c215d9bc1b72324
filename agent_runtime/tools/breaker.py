"""Leaves a source alone for a while after it failed again and again."""

from __future__ import annotations

FAILURES = 5
REST_SECONDS = 30.0


class SourceBreaker:
    """Counts failures in a row; times are seconds of a clock that only goes forward."""

    def __init__(self, failures: int = FAILURES, rest_seconds: float = REST_SECONDS) -> None:
        self._threshold = failures
        self._rest = rest_seconds
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False

    def is_open(self, now: float) -> bool:
        """Whether the source rests."""
        return self._open_until is not None and (now < self._open_until or self._trying)

    def admit(self, now: float) -> bool:
        """Whether a call may go; after the rest one call tries the source, the others wait for what it finds."""
        if self.is_open(now):
            return False
        self._trying = self._open_until is not None
        return True

    def succeeded(self) -> None:
        """Note an answer, whatever it says."""
        self._failures = 0
        self._open_until = None
        self._trying = False

    def failed(self, now: float) -> None:
        """Note that the source was not reached, broke off or was too slow."""
        self._failures += 1
        self._trying = False
        if self._failures >= self._threshold or self._open_until is not None:
            self._open_until = now + self._rest

    def gave_up(self) -> None:
        """Note that a call ended without telling anything: its caller went away."""
        self._trying = False
