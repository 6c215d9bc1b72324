"""Mounted files that are replaced while the process runs: read again when they change, without a restart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Signature = tuple[int, int, int]
"""What changes when a file is replaced or written."""

_REMEMBERED = 4


def signature_of(path: Path) -> Signature:
    """Signature of a file; raises OSError if there is none."""
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


class SecretFile(ABC):
    """One secret in a file of its own. A kind of secret says what its file may hold, and how its absence is told."""

    max_bytes: int

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature: Signature | None = None
        self._values: list[str] = []

    @abstractmethod
    def parse(self, content: bytes) -> str:
        """The secret of a file's content, at most one byte longer than allowed; raises what tells what is wrong."""

    @abstractmethod
    def missing(self) -> Exception:
        """What tells that there is no such file."""

    @property
    def seen(self) -> tuple[str, ...]:
        """The latest values that this file has held, for keeping them out of logs."""
        return tuple(self._values)

    def read(self) -> str:
        """The secret that the file holds now; raises as `parse` and `missing` say."""
        try:
            signature = signature_of(self._path)
            if signature != self._signature:
                with self._path.open("rb") as file:
                    self._remember(self.parse(file.read(self.max_bytes + 1)))
                self._signature = signature
        except OSError as error:
            self._signature = None
            raise self.missing() from error
        return self._values[-1]

    def _remember(self, value: str) -> None:
        self._values = [*(known for known in self._values if known != value), value][-_REMEMBERED:]
