"""Watches the process itself: how late its event loop runs, and how much memory it holds."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_SECONDS = 0.5
REMEMBERED_SAMPLES = 60
"""As many as lie between two scrapes, so that none misses a hiccup."""

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_log = structlog.get_logger("agent_runtime")


class ProcessWatch:
    """Owner of the task that samples; `hook` gets the worst seconds of lag lately, and the resident bytes."""

    def __init__(self, hook: Callable[[float, int], None], interval: float = INTERVAL_SECONDS) -> None:
        self._hook = hook
        self._interval = interval
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it samples."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to sample on the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._sample(), name="process-watch")
        self._task.add_done_callback(_tell_death)

    async def stop(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        lags: deque[float] = deque(maxlen=REMEMBERED_SAMPLES)
        while True:
            due = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            lags.append(max(0.0, loop.time() - due))
            self._hook(max(lags), resident_bytes())


def resident_bytes() -> int:
    """Memory of this process in bytes; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def _tell_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("the watch of the process ended", cause=type(error).__name__)
