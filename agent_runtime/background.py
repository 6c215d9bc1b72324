"""Work that goes on beside requests, with an owner that notices its death."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

STOP_SECONDS = 5.0
_log = structlog.get_logger("agent_runtime")


class Background:
    """Endless work of the process. The death of a part ends the process, so that the kubelet starts it anew."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Begin a part of it."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._stopping or task.cancelled():
            return
        _log.error("a part of the process ended", part=task.get_name(), exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """End all parts, for STOP_SECONDS at most."""
        self._stopping = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
