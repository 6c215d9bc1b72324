"""A model provider on loopback that misbehaves as a test tells it, by model, and counts what it was asked.

    async with faulty_provider() as provider:
        provider.script("gpt-x", refuses(429, retry_after="1"), answers("Hello"))

The last reply of a script stays; a model without one answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum, auto
from itertools import pairwise
from typing import Any

from aiohttp import web

from tests.support.otlp_sink import served

WAIT_SECONDS = 20.0
TEXT = "Hello, world"


class Act(Enum):
    """What a reply does beside writing and waiting."""

    RESET = auto()


Step = bytes | float | Act
"""Bytes are written, a number is a pause in seconds."""


@dataclass(frozen=True)
class Reply:
    """One answer: `steps` of a success in order, `body` of a refusal."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    steps: tuple[Step, ...] = ()
    body: str | None = None


@dataclass(frozen=True)
class Call:
    """What the provider was asked, and when, on the clock of time.monotonic."""

    model: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float


@dataclass
class FaultyProvider:
    """Answers as scripted."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    hits: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    in_flight: int = 0
    _scripts: dict[str, list[Reply]] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        """What an endpoint's document names."""
        return f"{self.url}/v1"

    def script(self, model: str, *replies: Reply) -> None:
        """Say what a model answers from now on, one reply for each call."""
        self._scripts[model] = list(replies)

    def gaps(self, model: str) -> list[float]:
        """Seconds between the calls of a model."""
        moments = [call.at for call in self.calls if call.model == model]
        return [later - earlier for earlier, later in pairwise(moments)]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition; raises TimeoutError."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():
                await asyncio.sleep(0.005)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        body = await request.json()
        model = body["model"]
        self.calls.append(Call(model, body, dict(request.headers), time.monotonic()))
        self.hits[model] += 1
        self.in_flight += 1
        try:
            return await self._play(request, self._next(model))
        except (asyncio.CancelledError, ConnectionError):
            self.left[model] += 1
            raise
        finally:
            self.in_flight -= 1

    def _next(self, model: str) -> Reply:
        script = self._scripts.get(model) or [answers()]
        return script.pop(0) if len(script) > 1 else script[0]

    async def _play(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply.status != 200:
            return _refusal(request, reply)
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **dict(reply.headers)})
        for step in reply.steps:
            if isinstance(step, bytes):
                if not response.prepared:
                    await response.prepare(request)
                await response.write(step)
            elif isinstance(step, Act):
                _reset(request)
                break
            else:
                await asyncio.sleep(step)
        return response


@asynccontextmanager
async def faulty_provider(port: int = 0) -> AsyncIterator[FaultyProvider]:
    """Run a provider while the block does."""
    provider = FaultyProvider()
    async with served(provider.handle, "/v1/chat/completions", port) as url:
        provider.url = url
        yield provider


# The events that an answer is made of.


def event(document: object) -> bytes:
    """One event of a stream; bytes are put in as they are."""
    return b"data: " + (document if isinstance(document, bytes) else json.dumps(document).encode()) + b"\n\n"


def delta(finish_reason: str | None = None, **fields: Any) -> bytes:
    """A chunk that adds these fields to the answer."""
    return event({"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]})


def usage(sent: int = 3, received: int = 4, cached: int | None = None) -> bytes:
    """The chunk that counts tokens."""
    counted: dict[str, Any] = {
        "prompt_tokens": sent,
        "completion_tokens": received,
        "total_tokens": sent + received,
    }
    if cached is not None:
        counted["prompt_tokens_details"] = {"cached_tokens": cached}
    return event({"choices": [], "usage": counted})


BEGIN = delta(role="assistant", content="")
DONE = event(b"[DONE]")


# Answers.


def answers(text: str = TEXT, counted: bytes = usage(), pieces: int = 2, *, finish_reason: str = "stop") -> Reply:
    """A complete answer in so many pieces."""
    return streams(BEGIN, *_pieces(text, pieces), delta(finish_reason), counted, DONE)


def streams(*steps: Step) -> Reply:
    """Exactly these steps, then the end of the stream."""
    return Reply(steps=steps)


def calls_tool(name: str, arguments: object, call_id: str = "call-1") -> Reply:
    """A tool call whose arguments come in two pieces; text goes out as it is, valid or not."""
    return calls_tools((call_id, name, arguments))


def calls_tools(*calls: tuple[str, str, object]) -> Reply:
    """Several tool calls at once, each as id, name, arguments."""
    return streams(BEGIN, *_tool_deltas(calls), delta("tool_calls"), usage(), DONE)


def without_usage(text: str = TEXT) -> Reply:
    """A complete answer that counts no tokens."""
    return answers(text, b"")


def with_zero_usage(text: str = TEXT) -> Reply:
    """A complete answer that claims to have taken nothing."""
    return answers(text, usage(0, 0))


def with_cached_tokens(sent: int, cached: int, received: int = 4) -> Reply:
    """A complete answer of which a part of the input was in the provider's memory."""
    return answers(counted=usage(sent, received, cached))


def repeats_deltas(text: str = TEXT) -> Reply:
    """A complete answer some of whose chunks come again, as a proxy that replays a stream sends them."""
    pieces = _pieces(text, 2)
    return streams(BEGIN, BEGIN, *pieces, delta("stop"), delta("stop"), usage(), usage(), DONE, DONE)


def is_huge(megabytes: int, chunk_bytes: int = 64 * 1024) -> Reply:
    """An answer far longer than any limit, that never finishes."""
    chunk = delta(content="x" * chunk_bytes)
    return streams(BEGIN, *[chunk] * (megabytes * 1024 * 1024 // chunk_bytes))


# Faults.


def refuses(
    status: int, *, retry_after: str | None = None, retry_after_ms: str | None = None, code: str | None = None
) -> Reply:
    """An error status; its body quotes the caller's key, as some providers' bodies do."""
    headers = {"retry-after": retry_after, "retry-after-ms": retry_after_ms}
    body = {"error": {"message": "refused for {key}", "type": "faulty", "code": code}}
    return Reply(status, tuple((name, value) for name, value in headers.items() if value), body=json.dumps(body))


def refuses_until(status: int, seconds: float) -> Reply:
    """An error status with a Retry-After that is a date, so many seconds from now."""
    return refuses(status, retry_after=formatdate(time.time() + seconds, usegmt=True))


def resets_before_headers() -> Reply:
    """The connection is reset with no answer at all."""
    return streams(Act.RESET)


def resets_after_headers() -> Reply:
    """The connection is reset when the answer has begun and holds no token yet."""
    return streams(BEGIN, Act.RESET)


def is_cut(text: str = TEXT) -> Reply:
    """The connection is reset in the middle of the text."""
    return streams(BEGIN, *_pieces(text, 2)[:1], Act.RESET)


def ends_early(text: str = TEXT, *, done: bool = False) -> Reply:
    """The stream ends in an orderly way, with no finish reason; with `done` it even claims to be complete."""
    return streams(BEGIN, *_pieces(text, 2), *((DONE,) if done else ()))


def is_slow(seconds: float, text: str = TEXT) -> Reply:
    """A complete answer whose first token comes late; the headers do not."""
    return streams(BEGIN, seconds, *answers(text).steps)


def is_silent(seconds: float) -> Reply:
    """Not even headers come, for a time; then an answer."""
    return streams(seconds, *answers().steps)


def stalls(seconds: float, text: str = TEXT) -> Reply:
    """A complete answer with a long silence in its middle."""
    first, *rest = answers(text).steps[1:]
    return streams(BEGIN, first, seconds, *rest)


def is_malformed(text: str = TEXT) -> Reply:
    """A chunk in the middle is no JSON."""
    return streams(BEGIN, *_pieces(text, 2), event(b'{"choices": [{"delta'), delta("stop"), usage(), DONE)


def errs_in_stream(text: str = TEXT) -> Reply:
    """An error event in the middle of a stream that began with status 200."""
    return streams(BEGIN, *_pieces(text, 2)[:1], event({"error": {"message": "overloaded", "type": "server_error"}}))


def _pieces(text: str, count: int) -> list[bytes]:
    size = max(1, -(-len(text) // count))
    return [delta(content=text[start : start + size]) for start in range(0, len(text), size)]


def _tool_deltas(calls: Iterable[tuple[str, str, object]]) -> Iterable[bytes]:
    for index, (call_id, name, arguments) in enumerate(calls):
        text = arguments if isinstance(arguments, str) else json.dumps(arguments)
        half = len(text) // 2
        begin = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
        yield delta(tool_calls=[begin])
        for part in (text[:half], text[half:]):
            yield delta(tool_calls=[{"index": index, "function": {"arguments": part}}])


def _refusal(request: web.Request, reply: Reply) -> web.Response:
    key = request.headers.get("authorization", "")
    body = (reply.body or "{}").replace("{key}", key)
    return web.Response(text=body, status=reply.status, headers=reply.headers, content_type="application/json")


def _reset(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
