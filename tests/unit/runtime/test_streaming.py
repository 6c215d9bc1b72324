"""Server-sent events, and the queue between a run and its stream."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import ClientDisconnect

from agent_runtime.core.events import Failed, TextDelta
from agent_runtime.routes import streaming
from agent_runtime.routes.presence import ClientGone
from agent_runtime.routes.run import event_bytes
from agent_runtime.routes.streaming import Channel, RunStream, StreamedAnswer, sse


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


class Reader:
    """A request whose client stays until it goes."""

    def __init__(self):
        self.gone = asyncio.Event()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
def reader():
    return Reader()


@pytest.fixture
async def begin():
    """Begins streams, and stops them with the test."""
    begun = []

    def start(work):
        begun.append(RunStream(work))
        return begun[-1]

    yield start
    for stream in begun:
        await stream.stop()


async def read(work):
    return [part async for part in RunStream(work).events()]


async def test_stream_shows_what_is_sent_in_order_and_ends_with_the_work():
    async def work(channel):
        for part in (b"a", b"b", b"c"):
            await channel.send(part)

    assert await read(work) == [b"a", b"b", b"c"]


async def test_silent_stream_is_kept_open_by_comments(monkeypatch, begin):
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.02)
    silent = asyncio.Event()

    async def work(channel):
        await silent.wait()
        await channel.send(b"a")

    parts = begin(work).events()
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

    parts = RunStream(work).events()
    await anext(parts)
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0.01)
    rest = [part async for part in parts]
    assert len(rest) <= streaming.MAX_QUEUED
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_is_cancelled_when_the_reader_goes(reader, begin):
    cancelled, sent = asyncio.Event(), []

    async def work(channel):
        try:
            await channel.send(b"a")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def send(message):
        sent.append(message)
        if message.get("body") == b"a":
            reader.gone.set()

    stream = begin(work)
    await stream.open(reader)
    await StreamedAnswer(stream)({"type": "http", "asgi": {"spec_version": "2.0"}}, reader.receive, send)
    assert cancelled.is_set()
    assert sent[0]["status"] == 200


async def test_work_is_cancelled_although_no_part_of_its_answer_could_be_sent(reader, begin):
    cancelled = asyncio.Event()

    async def work(channel):
        try:
            await channel.send(b"a")
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def send(_message):
        raise OSError

    stream = begin(work)
    await stream.open(reader)
    with pytest.raises(ClientDisconnect):
        await StreamedAnswer(stream)({"type": "http", "asgi": {"spec_version": "2.4"}}, reader.receive, send)
    assert cancelled.is_set()


async def test_full_queue_does_not_keep_cancelled_work_alive():
    ended = asyncio.Event()

    async def work(channel):
        try:
            while True:
                await channel.send(b"a")
        finally:
            ended.set()

    stream = RunStream(work)
    await anext(stream.events())
    for _ in range(20):
        await asyncio.sleep(0)
    async with asyncio.timeout(2):
        await stream.stop()
    assert ended.is_set()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stream_opens_with_the_first_event_that_says_something(reader, begin):
    speaks = asyncio.Event()

    async def work(channel):
        await channel.send(b"begun", opens=False)
        await speaks.wait()
        await channel.send(b"said")

    stream = begin(work)
    opening = asyncio.create_task(stream.open(reader))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not opening.done()
    speaks.set()
    await opening
    assert [part async for part in stream.events()] == [b"begun", b"said"]


async def test_what_fails_before_the_stream_opens_is_raised_there(reader, begin):
    async def work(channel):
        await channel.send(b"begun", opens=False)
        raise RuntimeError("refused")

    with pytest.raises(RuntimeError, match="refused"):
        await begin(work).open(reader)


async def test_silent_work_opens_the_stream_after_a_while_and_fails_in_it(reader, begin, monkeypatch):
    monkeypatch.setattr(streaming, "HOLD_SECONDS", 0.02)
    fails, seen = asyncio.Event(), []

    async def work(channel):
        await fails.wait()
        seen.append(channel.opened.is_set())

    stream = begin(work)
    await stream.open(reader)
    fails.set()
    assert [part async for part in stream.events()] == []
    assert seen == [True]


async def test_client_that_leaves_before_the_stream_opens_ends_the_work(reader, begin):
    ended = asyncio.Event()

    async def work(_channel):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    opening = asyncio.create_task(begin(work).open(reader))
    await asyncio.sleep(0)
    reader.gone.set()
    with pytest.raises(ClientGone):
        await opening
    assert ended.is_set()


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
