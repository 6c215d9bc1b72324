"""Bounds on what is read of an HTTP answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class AnswerTooLarge(httpx2.StreamError):
    """An answer has more bytes than anybody reads."""


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most: int) -> None:
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > self._most:
                raise AnswerTooLarge(f"answer is larger than {self._most} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def capped(stream: object, most: int) -> httpx2.AsyncByteStream:
    """The same stream, which raises AnswerTooLarge after `most` bytes."""
    if not isinstance(stream, httpx2.AsyncByteStream):
        raise TypeError("only streams of an asynchronous client can be bounded")
    return _Capped(stream, most)
