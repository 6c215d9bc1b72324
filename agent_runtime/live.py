"""What applies without a restart: read again when its file changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from agent_api.live_document import LiveDocument
from agent_runtime.mounted import signature_of

if TYPE_CHECKING:
    from pathlib import Path

    from agent_runtime.mounted import Signature

CHECK_SECONDS = 1.0
_log = structlog.get_logger("agent_runtime")


class Live:
    """The live document, at most CHECK_SECONDS behind its file; one that cannot be read leaves the last in force.

    With `required` there must have been one: a document that is not there yet says nothing of who is let in.
    """

    def __init__(self, path: Path, *, required: bool = False) -> None:
        self._path = path
        self._signature: Signature | None = None
        self._looked = float("-inf")
        self._document = LiveDocument()
        self._unread = required

    def current(self) -> LiveDocument:
        """The document in force; its defaults while there is no file."""
        now = time.monotonic()
        if now - self._looked >= CHECK_SECONDS:
            self._looked = now
            self._look()
        return self._document

    def usable(self) -> bool:
        """Whether `current` may be trusted; not while there is or must be a file, and none could be read so far."""
        self.current()
        return not self._unread

    def _look(self) -> None:
        try:
            signature = signature_of(self._path)
            if signature == self._signature:
                return
            self._document = LiveDocument.model_validate_json(self._path.read_bytes(), extra="ignore")
            self._signature = signature
            self._unread = False
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            self._unread = self._signature is None
            # What pydantic says may quote the file; nothing in it is secret, but a log line needs no document.
            _log.warning("live document is not readable", path=str(self._path), cause=type(error).__name__)
