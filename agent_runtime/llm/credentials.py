"""API keys from mounted files, read again when a file changes, so that a rotation needs no restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_api.runtime_document import CREDENTIAL_FILE
from agent_runtime.mounted import SecretFile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class CredentialMissing(Exception):
    """The file of an expected key is absent or holds no usable key."""


class CredentialFile(SecretFile):
    """One API key; reading it raises CredentialMissing."""

    max_bytes = 64 * 1024

    def parse(self, content: bytes) -> str:
        """The key: one word of ASCII."""
        key = content.strip()
        if not key:
            raise CredentialMissing("is empty")
        if len(content) > self.max_bytes or any(not 0x21 <= byte <= 0x7E for byte in key):  # noqa: PLR2004 - ASCII
            raise CredentialMissing("is not one line of printable ASCII without spaces")
        return key.decode("ascii")

    def missing(self) -> CredentialMissing:
        """There is no such file."""
        return CredentialMissing("is missing")


class Credentials:
    """Keys by position of the endpoint."""

    def __init__(self, directory: Path, expected: Iterable[int]) -> None:
        self._files = {
            position: CredentialFile(directory / str(position) / CREDENTIAL_FILE) for position in sorted(expected)
        }

    def key(self, position: int) -> str | None:
        """Key for an endpoint, None where none is expected; raises CredentialMissing."""
        file = self._files.get(position)
        return None if file is None else file.read()

    def missing(self) -> dict[int, str]:
        """What is wrong with each expected key that cannot be used now."""
        wrong = {}
        for position, file in self._files.items():
            try:
                file.read()
            except CredentialMissing as error:
                wrong[position] = str(error)
        return wrong

    def secrets(self) -> tuple[str, ...]:
        """Every key seen lately, for keeping them out of logs."""
        return tuple(key for file in self._files.values() for key in file.seen)
