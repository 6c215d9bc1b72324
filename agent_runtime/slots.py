"""Waiting for a free slot has an end."""

from __future__ import annotations

import asyncio


async def take_slot(slots: asyncio.Semaphore, seconds: float) -> None:
    """Take a slot, to be released by the caller; raises TimeoutError if none is free in time."""
    if not slots.locked():
        # The common case, for which a timer would cost more than the rest.
        await slots.acquire()
        return
    async with asyncio.timeout(seconds):
        await slots.acquire()
