"""Follows the failures that Envoy writes, and keeps their file small."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

import structlog

from agent_gateway.envoy.admin import AdminUnavailableError, EnvoyAdmin
from agent_gateway.failures.access_log import FailureCounts, parse_failure
from agent_gateway.metrics import Metrics

_log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.5
_MAX_FILE_BYTES = 4 * 1024 * 1024
_CHUNK_BYTES = 256 * 1024
_MAX_LINE_BYTES = 64 * 1024


class FailureLog:
    """Tail of one file that grows past `max_bytes` only until it was read."""

    def __init__(
        self,
        path: Path,
        counts: FailureCounts,
        admin: EnvoyAdmin,
        metrics: Metrics,
        max_bytes: int = _MAX_FILE_BYTES,
    ) -> None:
        """Follow `path` from its begin; lines older than the count do not count."""
        self._path = path
        self._old = path.with_name(path.name + ".old")
        self._counts = counts
        self._admin = admin
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None
        self._rest = b""

    async def run(self) -> None:
        """Follow for ever; ends only with an error."""
        self._old.unlink(missing_ok=True)
        try:
            while True:
                await self.poll()
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            self.close()

    async def poll(self) -> None:
        """Read what is new; move on to the next file once the present one was moved away and its successor exists."""
        if self._file is None and self._path.exists():
            self._file = self._path.open("rb")
        if self._file is None:
            return
        replaced = not _same_file(self._file, self._path) and self._path.exists()
        self._read(self._file)
        if replaced:
            self.close()
            self._old.unlink(missing_ok=True)
        elif self._file.tell() > self._max_bytes:
            await self._rotate()

    async def _rotate(self) -> None:
        """Move the file away and let Envoy begin a new one; the next poll reads the old one to its end first."""
        if self._path.exists() and not self._old.exists():
            self._path.replace(self._old)
        try:
            await self._admin.reopen_logs()
        except AdminUnavailableError as error:
            _log.warning("the failure log was not reopened", error=str(error))

    def _read(self, file: BinaryIO) -> None:
        while chunk := file.read(_CHUNK_BYTES):
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._rest = self._rest[-_MAX_LINE_BYTES:]
            for line in lines:
                self._count(line)

    def _count(self, line: bytes) -> None:
        failure = parse_failure(line.decode(errors="replace"))
        if failure is not None:
            self._counts.add(failure)
            self._metrics.failures.inc()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""


def _same_file(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
