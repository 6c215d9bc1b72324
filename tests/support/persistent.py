"""Clients that ask again, as a careful user's do: with backoff, for three seconds."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field

PATIENCE_SECONDS = 3.0
FIRST_PAUSE = 0.05


@dataclass
class Persistent:
    """What such clients saw: requests answered, those answered only when asked again, and what never was."""

    url: str
    answered: int = 0
    repeated: int = 0
    given_up: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _client(self) -> None:
        while not self._stop.is_set():
            tries, error = self._ask()
            with self._lock:
                self.answered += not error
                self.repeated += tries > 1
                if error:
                    self.given_up.append(error)
            self._stop.wait(0.05)

    def _ask(self) -> tuple[int, str]:
        """Tries that one request took, and why it was given up, if it was."""
        end, pause, tries = time.monotonic() + PATIENCE_SECONDS, FIRST_PAUSE, 0
        while True:
            tries += 1
            error = self._once()
            if not error or time.monotonic() + pause > end:
                return tries, error
            time.sleep(pause)
            pause = min(pause * 2, 0.5)

    def _once(self) -> str:
        body = json.dumps({"query": "again?"}).encode()
        request = urllib.request.Request(f"{self.url}/agent/run", body, {"content-type": "application/json"})  # noqa: S310 - an address of our own making
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                answer.read()
        except (OSError, urllib.error.HTTPError) as error:
            return f"{type(error).__name__}: {error}"
        return ""


@contextlib.contextmanager
def persistent_clients(url: str, count: int = 4) -> Iterator[Persistent]:
    """Run such clients while the block runs."""
    clients = Persistent(url)
    threads = [threading.Thread(target=clients._client, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients._stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client did not come to an end"
