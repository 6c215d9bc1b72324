"""A stand-in for a runtime pod, as small as it can be: `python -m benchmarks.upstream` prints its port and serves."""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from benchmarks.http1 import BadMessageError, complete_length

_BODY = (
    b'{"answer":"Hello.","tool_calls":[],"tokens_used":{"input":9,"output":3},"cost_usd":null,"latency_ms":1,'
    b'"conversation_id":"support-5c9f0a1b2d.7.1","revision":"support-5c9f0a1b2d","model":"m"}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-conversation-id: support-5c9f0a1b2d.7.1\r\n"
    b"x-greylag-outcome: ok\r\ncontent-length: %d\r\n\r\n" % len(_BODY)
) + _BODY


class Runtime(asyncio.Protocol):
    """One connection: the same answer to every request."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # What uvloop hands over is one, but not by inheritance.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every whole request; hang up at what is none."""
        if self._transport is None:
            return
        self._buffer += data
        try:
            while length := complete_length(self._buffer):
                self._buffer = self._buffer[length:]
                self._transport.write(ANSWER)
        except BadMessageError:
            self._transport.abort()


async def serve() -> None:
    """Serve on a free port of loopback until standard input ends, as it does when the parent is gone."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Runtime, "127.0.0.1", 0)
    async with server:
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await loop.run_in_executor(None, sys.stdin.buffer.read)


if __name__ == "__main__":
    uvloop.run(serve())
