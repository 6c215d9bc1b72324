"""A provider on loopback whose every answer has a price of its own, and that keeps the bills."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.faulty_provider import BEGIN, DONE, delta, usage
from tests.support.otlp_sink import served
from tests.support.runtimes import endpoint_of, price_of

SENT_MICRO, RECEIVED_MICRO = 1000, 10_000
"""Price of a token, in micro-dollars."""

MOST_SENT, MOST_RECEIVED = 60, 100
FAILING = 0.03


@dataclass
class Biller:
    """Answers each call at a random price, after a random time; a few calls fail, and those are free.

    An answer is billed from its beginning on, whether or not somebody is left to read it.
    """

    chance: random.Random
    longest_seconds: float
    base_url: str = ""
    bills: Counter[str] = field(default_factory=Counter)
    """Micro-dollars by request id."""

    in_flight: int = 0

    def endpoint(self, model: str = "gpt-x") -> dict[str, Any]:
        """The endpoint as a runtime's document has it."""
        return endpoint_of(model, self.base_url, **price_of(SENT_MICRO, RECEIVED_MICRO))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        self.in_flight += 1
        try:
            return await self._answer(request)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        if self.chance.random() < FAILING:
            return web.json_response({"error": {"message": "overloaded"}}, status=503)
        sent, received = self.chance.randint(1, MOST_SENT), self.chance.randint(1, MOST_RECEIVED)
        self.bills[request.headers["x-request-id"]] += sent * SENT_MICRO + received * RECEIVED_MICRO
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        with suppress(ConnectionError):
            await self._pause()
            await response.prepare(request)
            await response.write(BEGIN + delta(content="Hello"))
            await self._pause()
            await response.write(delta("stop") + usage(sent, received) + DONE)
        return response

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, self.longest_seconds / 2))


@asynccontextmanager
async def running_biller(seed: int, longest_seconds: float = 0.5) -> AsyncIterator[Biller]:
    """A provider for the length of a block."""
    biller = Biller(random.Random(seed), longest_seconds)
    async with served(biller.answer, "/v1/chat/completions") as url:
        biller.base_url = f"{url}/v1"
        yield biller
