"""Asks runs of a server, a few at a time, and accepts right answers only."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import aiohttp

from demo.errors import DemoError

CONCURRENCY = 8
RUN_PATH = "/agent/run"
_SECONDS = 60


class Questions:
    """Questions about the weather, each another one: no cache knows any; asked by `users` people in turn."""

    def __init__(self, users: int = CONCURRENCY) -> None:
        self._numbers = itertools.count()
        self._users = users

    def next_body(self, url: str) -> dict[str, Any]:
        """Body of the next question; only our own protocol knows of users."""
        number = next(self._numbers)
        query = f"What is the weather in Paris, please? ({number})"
        return {"query": query} | ({"user_id": f"user-{number % self._users}"} if url.endswith(RUN_PATH) else {})

    async def ask(self, url: str, runs: int) -> None:
        """Ask so many, CONCURRENCY at a time, over new connections: a server may close those that rest meanwhile.

        Raises:
            DemoError: one has no answer, or not that of the tool.
        """
        left = iter(range(runs))
        try:
            async with _open_client() as session, asyncio.TaskGroup() as group:
                for _ in range(CONCURRENCY):
                    group.create_task(self._client(session, url, left))
        except* DemoError as errors:
            raise DemoError(str(errors.exceptions[0])) from None
        except* (aiohttp.ClientError, TimeoutError) as errors:
            raise DemoError(f"{url}: {errors.exceptions[0]!r}") from None

    async def _client(self, session: aiohttp.ClientSession, url: str, left: Iterator[int]) -> None:
        for _ in left:
            async with session.post(url, json=self.next_body(url)) as response:
                text = await response.text()
                if "sunny" not in text:
                    raise DemoError(f"{url}: status {response.status}: {text[:300]}")


def _open_client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS))
