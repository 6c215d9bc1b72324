"""Waiting for a slot has an end, and gives the slot to nobody else."""

from __future__ import annotations

import asyncio

import pytest

from agent_runtime.slots import take_slot


async def test_free_slot_is_taken_at_once():
    slots = asyncio.Semaphore(1)
    await take_slot(slots, 0)
    assert slots.locked()


async def test_wait_without_a_free_slot_ends_in_time():
    slots = asyncio.Semaphore(1)
    await take_slot(slots, 0)
    with pytest.raises(TimeoutError):
        await take_slot(slots, 0.01)
    slots.release()
    await take_slot(slots, 0)


async def test_slot_that_is_given_back_goes_to_whoever_waits():
    slots = asyncio.Semaphore(1)
    await take_slot(slots, 0)
    waiting = asyncio.create_task(take_slot(slots, 30))
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.release()
    await waiting
    assert slots.locked()
