"""Request limits over all pods: runs a minute of the agent and of a user, and runs at a time."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Literal, cast

import structlog

from agent_api.live_document import RateLimitsDocument
from agent_runtime.limits.scripts import ADMIT
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.store.connection import Store

Scope = Literal["agent", "user", "concurrency"]

MAX_PENDING = 10_000
"""Slots that are still to be freed; those beyond are freed by their lease."""

_log = structlog.get_logger("agent_runtime")


class Limited(Exception):
    """A run is not admitted now; `retry_after` is in seconds."""

    def __init__(self, scope: Scope, retry_after: float) -> None:
        what = {
            "agent": "the agent's runs a minute (spec.rateLimits.requestsPerMinute)",
            "user": "the user's runs a minute (spec.rateLimits.perUserPerMinute)",
            "concurrency": "the agent's runs at the same time (spec.rateLimits.maxConcurrent)",
        }
        super().__init__(f"{what[scope]} are used up")
        self.scope: Scope = scope
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Ticket:
    """An admitted run; `slot` is what it occupies, or None."""

    slot: str | None = None


class Admission:
    """Admits runs while the limits allow it. While the store is away everybody is admitted, which is said once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._admit = store.script(ADMIT)
        self._slots = store.key("limits", "slots")
        self._pending: deque[str] = deque(maxlen=MAX_PENDING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._enforced = True

    async def admit(self, run_id: str, user: str, limits: RateLimitsDocument, lease_seconds: float) -> Ticket:
        """Admit a run, which then occupies a slot for `lease_seconds` or until it is released.

        Raises
        ------
        Limited
            If it is not admitted; then it counts nowhere.
        """
        wanted = (limits.requests_per_minute, limits.per_user_per_minute, limits.max_concurrent)
        if all(limit is None for limit in wanted):
            return Ticket()
        if self._pending:
            await self._free()
        run = _digest(run_id)
        keys = [
            self._store.key("limits", "rate", "agent"),
            self._store.key("limits", "rate", "user", _digest(user)),
            self._slots,
        ]
        occupied = Ticket(run if limits.max_concurrent is not None else None)
        try:
            scope, seconds = await self._admit(
                keys, [run, lease_seconds, *("" if limit is None else limit for limit in wanted)]
            )
        except StoreUnavailable:
            self._note_enforced(enforced=False)
            return occupied
        except asyncio.CancelledError:
            if occupied.slot is not None:
                self._free_soon(occupied.slot)
            raise
        self._note_enforced(enforced=True)
        if scope:
            raise Limited(cast(Scope, scope.decode()), float(seconds))
        return occupied

    async def release(self, ticket: Ticket) -> None:
        """Free the slot of a run; raises nothing, and goes on in the background if the caller is cancelled."""
        if ticket.slot is None:
            return
        try:
            await self._free(ticket.slot)
        except asyncio.CancelledError:
            self._free_soon()
            raise

    def _free_soon(self, *slots: str) -> None:
        task = asyncio.create_task(self._free(*slots))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _free(self, *slots: str) -> None:
        # Those that could not be freed before go along.
        freed = [*slots, *self._pending]
        self._pending.clear()
        try:
            await self._store.client.zrem(self._slots, *freed)
        except (StoreUnavailable, asyncio.CancelledError) as error:
            self._pending.extend(freed)
            if isinstance(error, asyncio.CancelledError):
                raise

    def _note_enforced(self, *, enforced: bool) -> None:
        if enforced != self._enforced:
            self._enforced = enforced
            if enforced:
                _log.info("request limits are enforced again")
            else:
                _log.warning("request limits are not enforced: the store is away")


def _digest(text: str) -> str:
    """Name that fits into a key and tells nobody who it is."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]
