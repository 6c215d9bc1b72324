"""Memory and CPU of a process on this machine, from /proc."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from demo.errors import DemoError

_PERIOD_SECONDS = 0.25
_JOIN_SECONDS = 5
_USER_FIELD, _SYSTEM_FIELD = 11, 12


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process holds and has used since it began."""

    resident_mb: float
    cpu_seconds: float


def parse_usage(stat: str, statm: str, ticks_per_second: int, page_bytes: int) -> Usage:
    """Usage from the text of /proc/PID/stat and /proc/PID/statm."""
    # The program's name stands in parentheses and may hold anything: count from behind it.
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[_USER_FIELD]) + int(fields[_SYSTEM_FIELD])
    return Usage(int(statm.split()[1]) * page_bytes / 1e6, ticks / ticks_per_second)


def usage_of(process: int) -> Usage:
    """Usage of a process, by its id.

    Raises:
        DemoError: it is gone.
    """
    folder = Path(f"/proc/{process}")
    try:
        stat, statm = ((folder / name).read_text(encoding="utf-8", errors="replace") for name in ("stat", "statm"))
    except (FileNotFoundError, ProcessLookupError) as error:
        raise DemoError(f"process {process} ended while it was measured") from error
    return parse_usage(stat, statm, os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE"))


class Watched:
    """A process that is looked at several times a second while the block runs."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._before = usage_of(process)
        self._latest = self._before
        self._peak = self._before.resident_mb
        self._stop = threading.Event()
        self._error: DemoError | None = None
        self._thread = threading.Thread(target=self._watch, name=f"usage-{process}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)

    def _watch(self) -> None:
        try:
            while True:
                self._latest = usage_of(self._process)
                self._peak = max(self._peak, self._latest.resident_mb)
                if self._stop.wait(_PERIOD_SECONDS):
                    return
        except DemoError as error:
            self._error = error

    def figures(self, name: str) -> dict[str, float]:
        """Memory before and at most in MB, and CPU seconds used.

        Raises:
            DemoError: the process ended meanwhile.
        """
        if self._error is not None:
            raise self._error
        return {
            f"{name}RssBeforeMb": round(self._before.resident_mb, 1),
            f"{name}RssMaxMb": round(self._peak, 1),
            f"{name}CpuSeconds": round(self._latest.cpu_seconds - self._before.cpu_seconds, 2),
        }
