"""Just enough HTTP/1.1 to measure with: whole messages by content-length, requests over kept connections."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Mapping

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_OK = b"HTTP/1.1 200 "
_RECEIVE_BYTES = 65536
_TIMEOUT_SECONDS = 10.0


class BadMessageError(Exception):
    """What came is no message with a content-length, or no answer 200."""


def complete_length(buffer: bytes) -> int:
    """Bytes of the first message of a buffer; 0 while it is not whole.

    Raises:
        BadMessageError: it says no length.
    """
    head = buffer.find(_HEAD_END)
    if head < 0:
        return 0
    headers = buffer[:head].lower()
    at = headers.find(_LENGTH)
    if at < 0:
        raise BadMessageError(buffer[:head].decode(errors="replace"))
    end = headers.find(b"\r\n", at + len(_LENGTH))
    size = int(headers[at + len(_LENGTH) : end if end >= 0 else head])
    total = head + len(_HEAD_END) + size
    return total if len(buffer) >= total else 0


def make_request(path: str, body: Mapping[str, str]) -> bytes:
    """A POST of a JSON body."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: support\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
    return head.encode() + _HEAD_END + content


class Connection:
    """A kept connection, with at most one request on it."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def fileno(self) -> int:
        """For selectors."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, request: bytes) -> None:
        """Send a request."""
        self._socket.sendall(request)

    def receive(self) -> bool:
        """Receive once; True if an answer is whole.

        Raises:
            BadMessageError: it is not a 200, or the other side hung up.
        """
        part = self._socket.recv(_RECEIVE_BYTES)
        if not part:
            raise BadMessageError("hung up")
        self._buffer += part
        if not complete_length(self._buffer):
            return False
        if not self._buffer.startswith(_OK):
            raise BadMessageError(self._buffer[:400].decode(errors="replace"))
        self._buffer = b""
        return True

    def exchange(self, request: bytes) -> float:
        """Send a request and receive its answer; returns the seconds that took."""
        began = time.perf_counter()
        self.send(request)
        while not self.receive():
            pass
        return time.perf_counter() - began


def count_answers(port: int, request: bytes, connections: int, seconds: float) -> float:
    """Answers per second over several connections, each with one request at a time."""
    with selectors.DefaultSelector() as selector:
        kept = [Connection(port) for _ in range(connections)]
        try:
            for connection in kept:
                selector.register(connection, selectors.EVENT_READ, connection)
                connection.send(request)
            began = time.perf_counter()
            answers = 0
            while time.perf_counter() - began < seconds:
                for key, _ in selector.select(_TIMEOUT_SECONDS):
                    if key.data.receive():
                        answers += 1
                        key.data.send(request)
            return answers / (time.perf_counter() - began)
        finally:
            for connection in kept:
                connection.close()
