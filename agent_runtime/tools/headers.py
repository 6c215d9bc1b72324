"""Headers of tools whose values are mounted secrets, read again when a file changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent_api.runtime_document import HEADER_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_HEADER_BYTES = 16 * 1024
_REMEMBERED_VALUES = 4
_VALUE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_SCHEME = re.compile(r"(?:Bearer|Basic|Token|ApiKey)\s+(\S+)", re.IGNORECASE)


class HeaderMissing(Exception):
    """The file of a header is absent or holds no usable value; the message names the header only."""


class HeaderFile:
    """One header; unlike an API key its value may hold blanks, as in `Bearer abc`."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path
        self._signature: tuple[int, int, int] | None = None
        self._values: list[str] = []

    @property
    def seen(self) -> tuple[str, ...]:
        """The latest values, and the secret within each."""
        return (*self._values, *(match.group(1) for value in self._values if (match := _SCHEME.fullmatch(value))))

    def read(self) -> str:
        """Value that the file holds now.

        Raises
        ------
        HeaderMissing
            If there is none.
        """
        try:
            stat = self._path.stat()
            signature = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if signature != self._signature:
                self._remember(self._load())
                self._signature = signature
        except OSError as error:
            self._signature = None
            raise HeaderMissing(f"secret of header {self.name} is missing") from error
        return self._values[-1]

    def _load(self) -> str:
        with self._path.open("rb") as file:
            content = file.read(MAX_HEADER_BYTES + 1).strip()
        if len(content) > MAX_HEADER_BYTES or not _VALUE.fullmatch(content):
            raise HeaderMissing(f"secret of header {self.name} is not one line of printable ASCII")
        return content.decode("ascii")

    def _remember(self, value: str) -> None:
        self._values = [*(known for known in self._values if known != value), value][-_REMEMBERED_VALUES:]


class SecretHeaders:
    """All headers of one source; `position` is that of the source in the document."""

    def __init__(self, directory: Path, position: int, names: Sequence[str]) -> None:
        self._files = [
            HeaderFile(name, directory / f"{position}-{index}" / HEADER_FILE) for index, name in enumerate(names)
        ]

    def read(self) -> dict[str, str]:
        """Headers as they are now; raises HeaderMissing."""
        return {file.name: file.read() for file in self._files}

    def secrets(self) -> tuple[str, ...]:
        """Every value seen lately, for keeping them out of logs."""
        return tuple(value for file in self._files for value in file.seen)
