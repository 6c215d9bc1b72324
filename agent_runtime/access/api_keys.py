"""API keys from a mounted Secret: a file a user, a key a line. Only hashes of keys are kept."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

import structlog

from agent_runtime.access.caller import is_user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

CHECK_SECONDS = 1.0
MAX_FILE_BYTES = 1024 * 1024
_KUBELET_LINK = "..data"
_ATTEMPTS = 2
_log = structlog.get_logger("agent_runtime.access")

_Signature = tuple[tuple[str, int, int, int], ...]


MISSING = "the Secret of spec.access.apiKeysSecretRef is missing, or cannot be read"
_NO_KEYS = "the Secret of spec.access.apiKeysSecretRef holds no key: it has an entry a user, and in it a key a line"
_ALL_SHARED = "the Secret of spec.access.apiKeysSecretRef gives every key to several users, so that none says who asks"


class ApiKeysUnavailable(Exception):
    """There are no keys to compare with; the message says why."""


class ApiKeys:
    """Keys of all users, at most CHECK_SECONDS behind their files."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._looked = float("-inf")
        self._signature: _Signature | None = None
        self._users: tuple[tuple[bytes, str], ...] = ()
        self._wrong = MISSING

    def user_of(self, key: str) -> str | None:
        """User whose key this is; None if it is nobody's.

        Raises
        ------
        ApiKeysUnavailable
            If there are no keys at all.
        """
        if wrong := self.unusable():
            raise ApiKeysUnavailable(wrong)
        presented, found = _digest(key.encode()), None
        # All are compared, so that the time taken tells nothing.
        for digest, user in self._users:
            if hmac.compare_digest(digest, presented):
                found = user
        return found

    def unusable(self) -> str:
        """Why there are no keys to compare with; empty if there are."""
        now = self._clock()
        if now - self._looked >= CHECK_SECONDS:
            self._looked = now
            self._look()
        return "" if self._users else self._wrong

    def _look(self) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                self._load_if_changed()
            except OSError as error:
                # The kubelet may have put other files in place meanwhile; that shows at the second look.
                if attempt:
                    self._users, self._signature, self._wrong = (), None, MISSING
                    _log.warning("API keys are not readable", cause=type(error).__name__)
            else:
                return

    def _load_if_changed(self) -> None:
        directory = self._present()
        signature = _signature(directory)
        if signature != self._signature:
            found = tuple(_read(directory))
            users = _unambiguous(found)
            if self._present() != directory:
                raise FileNotFoundError(str(directory))
            self._users, self._signature = users, signature
            self._wrong = _ALL_SHARED if found else _NO_KEYS

    def _present(self) -> Path:
        """Where the files are: the kubelet replaces them all at once, by a link to another directory."""
        link = self._directory / _KUBELET_LINK
        return link.resolve(strict=True) if link.is_symlink() else self._directory


def _signature(directory: Path) -> _Signature:
    stats = [(path, path.stat()) for path in sorted(directory.iterdir())]
    return tuple((str(path), stat.st_mtime_ns, stat.st_ino, stat.st_size) for path, stat in stats)


def _read(directory: Path) -> Iterator[tuple[bytes, str]]:
    for path in sorted(directory.iterdir()):
        if path.name.startswith("..") or not path.is_file() or not is_user(path.name):
            continue
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES)
        for line in content.splitlines():
            key = line.strip()
            if key:
                yield _digest(key), path.name


def _unambiguous(keys: Iterable[tuple[bytes, str]]) -> tuple[tuple[bytes, str], ...]:
    """Keys that are one user's; one that several have would let one act as the other."""
    owners: dict[bytes, set[str]] = {}
    for digest, user in keys:
        owners.setdefault(digest, set()).add(user)
    for users in owners.values():
        if len(users) > 1:
            _log.warning("an API key of several users is refused", users=sorted(users))
    return tuple((digest, users.pop()) for digest, users in owners.items() if len(users) == 1)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
