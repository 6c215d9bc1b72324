"""Cuts a stream of server-sent events into the data of each."""

from __future__ import annotations

MAX_EVENT_BYTES = 8 * 1024 * 1024


class EventTooLarge(ValueError):
    """An event has more bytes than anybody reads."""


class EventStream:
    """Takes bytes as they arrive; fields other than data mean nothing to us, and comments keep the stream alive."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._returned = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Data of the events that are complete now; raises EventTooLarge."""
        if self._returned:
            # The second half of a line's end, whose first half was the end of the last chunk.
            chunk = chunk.removeprefix(b"\n")
        self._returned = chunk.endswith(b"\r")
        if b"\r" in chunk:
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        complete = [data for line in lines if (data := self._end_line(line)) is not None]
        if self._size + len(self._rest) > MAX_EVENT_BYTES:
            raise EventTooLarge("event is too large")
        return complete

    def _end_line(self, line: bytes) -> bytes | None:
        """Data of the event that the line ends, if it ends one."""
        if not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
        return None
