"""Acknowledgements and their versions."""

from __future__ import annotations

import asyncio

from agent_api.acknowledgement import AppliedRoute
from agent_gateway.control.board import Board


async def test_the_version_rises_only_with_a_change() -> None:
    board = Board("gateway-0")
    board.post({"a": AppliedRoute(uid="u", serial=1)})
    board.post({"a": AppliedRoute(uid="u", serial=1)})
    assert board.applied.version == 1
    board.post({})
    assert board.applied.version == 2


async def test_a_reader_that_is_behind_is_answered_at_once() -> None:
    board = Board("gateway-0")
    board.post({"a": AppliedRoute(uid="u", serial=1)})
    assert (await asyncio.wait_for(board.newer_than(0, 30), 1)).version == 1


async def test_a_reader_of_another_process_is_answered_at_once() -> None:
    assert (await asyncio.wait_for(Board("gateway-0").newer_than(77, 30), 1)).version == 0


async def test_a_reader_that_knows_everything_waits_for_the_next_change() -> None:
    board = Board("gateway-0")
    waiting = asyncio.create_task(board.newer_than(0, 30))
    await asyncio.sleep(0)
    assert not waiting.done()
    board.post({"a": AppliedRoute(uid="u", serial=1)})
    assert (await asyncio.wait_for(waiting, 1)).routes["a"].serial == 1


async def test_the_wait_has_an_end() -> None:
    assert (await asyncio.wait_for(Board("gateway-0").newer_than(0, 0.01), 1)).version == 0


def test_every_process_has_its_own_boot_id() -> None:
    assert Board("g").applied.boot != Board("g").applied.boot
