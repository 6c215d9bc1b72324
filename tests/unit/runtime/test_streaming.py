"""Server-sent events, and the queue between a run and its stream."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent_runtime.core.events import Failed, TextDelta
from agent_runtime.routes import streaming
from agent_runtime.routes.presence import ClientGone
from agent_runtime.routes.run import event_bytes
from agent_runtime.routes.streaming import Channel, sse, stream_run


@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        (({"a": 1},), b'data: {"a":1}\n\n'),
        (({"a": 1}, "delta"), b'event: delta\ndata: {"a":1}\n\n'),
        (({"a": 1}, "delta", "7"), b'id: 7\nevent: delta\ndata: {"a":1}\n\n'),
        (("[DONE]",), b"data: [DONE]\n\n"),
    ],
)
def test_event_is_written_as_the_protocol_has_it(arguments, content):
    assert sse(*arguments) == content


def test_no_text_of_a_model_breaks_out_of_its_event():
    written = event_bytes(TextDelta("one\n\nevent: error\ndata: {}\r\n\u2028"))
    assert written.count(b"\n") == 3
    assert json.loads(written.split(b"data: ", 1)[1])["text"] == "one\n\nevent: error\ndata: {}\r\n\u2028"


def test_event_is_named_by_its_type():
    assert event_bytes(Failed({"status": 502})).startswith(b"event: error\ndata: ")


async def read(work):
    return [part async for part in stream_run(work, {}).body_iterator]


async def test_stream_shows_what_is_sent_in_order_and_ends_with_the_work():
    async def work(channel):
        for part in (b"a", b"b", b"c"):
            await channel.send(part)

    assert await read(work) == [b"a", b"b", b"c"]


async def test_silent_stream_is_kept_open_by_comments(monkeypatch):
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.02)
    silent = asyncio.Event()

    async def work(channel):
        await silent.wait()
        await channel.send(b"a")

    parts = stream_run(work, {}).body_iterator
    assert [await anext(parts) for _ in range(3)] == [b": keep-alive\n\n"] * 3
    silent.set()
    rest = [part async for part in parts]
    assert rest[-1] == b"a"


async def test_reader_who_does_not_read_holds_the_work_up():
    channel, sent = Channel(), 0

    async def work(channel):
        nonlocal sent
        for _ in range(10_000):
            await channel.send(b"a")
            sent += 1

    task = asyncio.create_task(channel.fill(work))
    for _ in range(20):
        await asyncio.sleep(0)
    assert sent == streaming.MAX_QUEUED
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()


async def test_reader_who_does_not_read_for_long_counts_as_gone(monkeypatch):
    monkeypatch.setattr(streaming, "STALLED_SECONDS", 0.05)
    told = []

    async def work(channel):
        try:
            while True:
                await channel.send(b"a")
        except ClientGone:
            told.append("gone")
            raise

    parts = stream_run(work, {}).body_iterator
    await anext(parts)
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.01)
    rest = [part async for part in parts]
    assert len(rest) <= streaming.MAX_QUEUED
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_is_cancelled_when_the_reader_goes():
    cancelled = asyncio.Event()

    async def work(channel):
        try:
            await channel.send(b"a")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    parts = stream_run(work, {}).body_iterator
    assert await anext(parts) == b"a"
    await parts.aclose()
    assert cancelled.is_set()


async def test_full_queue_does_not_keep_cancelled_work_alive():
    ended = asyncio.Event()

    async def work(channel):
        try:
            while True:
                await channel.send(b"a")
        finally:
            ended.set()

    parts = stream_run(work, {}).body_iterator
    await anext(parts)
    for _ in range(20):
        await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await parts.aclose()
    assert ended.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stream_whose_work_was_cancelled_from_within_ends():
    async def work(channel):
        for _ in range(streaming.MAX_QUEUED):
            await channel.send(b"a")
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await read(work)


async def test_failure_of_the_work_is_the_streams():
    async def work(channel):
        await channel.send(b"a")
        raise RuntimeError("unforeseen")

    with pytest.raises(RuntimeError, match="unforeseen"):
        await read(work)
