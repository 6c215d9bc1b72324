"""API keys from mounted files, read again when a file changes, so that a rotation needs no restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent_api.runtime_document import CREDENTIAL_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PLACEHOLDER = "no-key"
"""Sent where no key is expected: the OpenAI client insists on one."""

_MAX_KEY_BYTES = 64 * 1024
_REMEMBERED_KEYS = 4


class CredentialMissing(Exception):
    """The file of an expected key is absent or holds no usable key."""


class CredentialFile:
    """One key in a file that may be replaced at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature: tuple[int, int, int] | None = None
        self._keys: list[str] = []

    @property
    def seen(self) -> tuple[str, ...]:
        """The latest keys that this file has held."""
        return tuple(self._keys)

    def read(self) -> str:
        """Key that the file holds now.

        Raises
        ------
        CredentialMissing
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
            raise CredentialMissing("is missing") from error
        return self._keys[-1]

    def _load(self) -> str:
        with self._path.open("rb") as file:
            content = file.read(_MAX_KEY_BYTES + 1)
        key = content.strip()
        if not key:
            raise CredentialMissing("is empty")
        if len(content) > _MAX_KEY_BYTES or any(not 0x21 <= byte <= 0x7E for byte in key):  # noqa: PLR2004 - ASCII
            raise CredentialMissing("is not one line of printable ASCII without spaces")
        return key.decode("ascii")

    def _remember(self, key: str) -> None:
        self._keys = [*(known for known in self._keys if known != key), key][-_REMEMBERED_KEYS:]


class Credentials:
    """Keys by position of the endpoint."""

    def __init__(self, directory: Path, expected: Iterable[int]) -> None:
        self._files = {
            position: CredentialFile(directory / str(position) / CREDENTIAL_FILE) for position in sorted(expected)
        }

    def key(self, position: int) -> str:
        """Key for an endpoint, or a placeholder where none is expected; raises CredentialMissing."""
        file = self._files.get(position)
        return PLACEHOLDER if file is None else file.read()

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
