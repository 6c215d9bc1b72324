"""Unix time that never jumps."""

from __future__ import annotations

import time


class SteadyClock:
    """Unix time as of start, moved on by the monotonic clock: a step of the wall clock would book runs wrongly."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.monotonic() + self._offset
