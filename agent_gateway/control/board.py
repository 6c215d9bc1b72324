"""The acknowledgements that the operator reads: versioned, with a bounded wait for the next change."""

from __future__ import annotations

import asyncio
import secrets

from agent_api.acknowledgement import MAX_WAIT_SECONDS, Applied, AppliedRoute
from agent_gateway.watching.routes import KNOWN_FIELDS


class Board:
    """The present answer to `GET /applied`."""

    def __init__(self, instance: str) -> None:
        """Begin at version 0 under a new boot id."""
        self._applied = Applied(instance=instance, version=0, boot=secrets.token_hex(8), fields=KNOWN_FIELDS)
        self._moved = asyncio.Event()

    @property
    def applied(self) -> Applied:
        """The present answer."""
        return self._applied

    def post(self, routes: dict[str, AppliedRoute]) -> None:
        """Replace the answer; the version rises only if it differs."""
        if routes == self._applied.routes:
            return
        self._applied = self._applied.model_copy(update={"version": self._applied.version + 1, "routes": routes})
        self._moved.set()
        self._moved = asyncio.Event()

    async def newer_than(self, version: int, wait: float) -> Applied:
        """The answer as soon as its version differs from `version`, or the unchanged one after `wait` seconds."""
        try:
            async with asyncio.timeout(min(max(wait, 0.0), MAX_WAIT_SECONDS)):
                while self._applied.version == version:
                    await self._moved.wait()
        except TimeoutError:
            pass
        return self._applied
