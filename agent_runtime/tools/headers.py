"""Headers of tools whose values are mounted secrets, read again when a file changes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from agent_api.runtime_document import HEADER_FILE
from agent_runtime.mounted import SecretFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_VALUE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_SCHEME = re.compile(r"(?:Bearer|Basic|Token|ApiKey)\s+(\S+)", re.IGNORECASE)


class HeaderMissing(Exception):
    """The file of a header is absent or holds no usable value; the message names the header only."""


class HeaderFile(SecretFile):
    """One header; unlike an API key its value may hold blanks, as in `Bearer abc`. Reading it raises HeaderMissing."""

    max_bytes = 16 * 1024

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(path)
        self.name = name

    @property
    def seen(self) -> tuple[str, ...]:
        """The latest values, and the secret within each."""
        values = super().seen
        return (*values, *(match.group(1) for value in values if (match := _SCHEME.fullmatch(value))))

    def parse(self, content: bytes) -> str:
        """The value: one line of ASCII."""
        value = content.strip()
        if len(value) > self.max_bytes or not _VALUE.fullmatch(value):
            raise HeaderMissing(f"secret of header {self.name} is not one line of printable ASCII")
        return value.decode("ascii")

    def missing(self) -> HeaderMissing:
        """There is no such file."""
        return HeaderMissing(f"secret of header {self.name} is missing")


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
