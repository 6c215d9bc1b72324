"""Requests to agents from this machine: one at a time, or without end from a few threads."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any

RUN = "/agent/run"
TIMEOUT_SECONDS = 30.0
PROBLEM = "urn:greylag:problem:"
_TURNS = 3
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Answer:
    """What a request came back with; status 0 and no document if it did not."""

    status: int
    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """Name of the problem, if it is one."""
        kind = self.document.get("type", "") if isinstance(self.document, dict) else ""
        return str(kind).removeprefix(PROBLEM)


def request(
    url: str, body: Any = None, method: str | None = None, seconds: float = TIMEOUT_SECONDS, **headers: str
) -> Answer:
    """One request; underscores in names of headers stand for dashes. Raises OSError if there is no whole answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    sent = urllib.request.Request(url, data, {"content-type": "application/json", **named}, method=method)  # noqa: S310 - an address of our own making
    try:
        with urllib.request.urlopen(sent, timeout=seconds) as answer:  # noqa: S310 - as above
            return _answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers, error.read())


def _answer(status: int, headers: Message, content: bytes) -> Answer:
    return Answer(status, json.loads(content), {name.lower(): value for name, value in headers.items()})


def ask(url: str, query: str = "hello", path: str = RUN, **headers: str) -> Answer:
    """Ask an agent something."""
    return request(f"{url}{path}", {"query": query}, **headers)


@dataclass(frozen=True)
class Noted:
    """One request of `asking`: when it was sent, whether it continued a conversation, and what came back."""

    sent: float
    continues: bool
    status: int
    kind: str
    outcome: str
    revision: str
    detail: str = ""


@dataclass
class Asked:
    """What clients that ask without end were answered so far."""

    url: str
    _notes: list[Noted] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    def notes(self, since: float = 0, until: float = float("inf")) -> list[Noted]:
        """Requests that were sent in a span of time."""
        with self._lock:
            return [note for note in self._notes if since <= note.sent < until]

    def _converse(self) -> None:
        while not self._stop.is_set():
            held = ""
            for _ in range(_TURNS):
                note, held = self._ask(held)
                with self._lock:
                    self._notes.append(note)
                if self._stop.wait(_PAUSE_SECONDS) or not held:
                    break

    def _ask(self, held: str) -> tuple[Noted, str]:
        headers = {"x_conversation_id": held} if held else {}
        sent = time.time()
        try:
            answer = ask(self.url, "again?", **headers)
        except (OSError, ValueError) as error:
            return Noted(sent, bool(held), 0, "", "", "", f"{type(error).__name__}: {error}"), ""
        outcome, revision = (answer.headers.get(f"x-greylag-{name}", "") for name in ("outcome", "revision"))
        note = Noted(sent, bool(held), answer.status, answer.kind, outcome, revision, _detail(answer))
        return note, answer.headers.get("x-conversation-id", "") if answer.status == 200 else ""


def _detail(answer: Answer) -> str:
    return str(answer.document.get("detail", "")) if isinstance(answer.document, dict) else ""


@contextlib.contextmanager
def asking(url: str, clients: int = 4) -> Iterator[Asked]:
    """Hold conversations of a few turns while the block runs."""
    asked = Asked(url)
    threads = [threading.Thread(target=asked._converse, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        asked._stop.set()
        for thread in threads:
            thread.join(2 * TIMEOUT_SECONDS)
            assert not thread.is_alive(), "a client did not come to an end"
