"""The preStop hook of Envoy's container: leave the Service first, then wait for running requests.

Runs as its own short process, so it uses the standard library only.
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

_POLL_SECONDS = 0.5
_TIMEOUT_SECONDS = 5
_QUIET_POLLS = 2
_PATTERN = r"^http\.(agent\..*|front_door)\.downstream_rq_active$"


class DrainedEnvoy(Protocol):
    """What draining needs of Envoy."""

    def begin(self) -> None:
        """Ask for connections to be closed after their present request."""

    def active(self) -> int:
        """Requests that run now."""


class AdminEndpoint:
    """Envoy's admin interface on loopback."""

    def __init__(self, port: int) -> None:
        """Talk to `port`."""
        self._base = f"http://127.0.0.1:{port}"

    def begin(self) -> None:
        """Ask for connections to be closed after their present request.

        Raises:
            OSError: if Envoy does not answer.

        """
        request = urllib.request.Request(f"{self._base}/drain_listeners?graceful", data=b"", method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310 - loopback, fixed scheme
            pass

    def active(self) -> int:
        """Requests that run now.

        Raises:
            OSError: if Envoy does not answer.

        """
        query = urllib.parse.urlencode({"filter": _PATTERN, "format": "json"})
        with urllib.request.urlopen(f"{self._base}/stats?{query}", timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            document = json.load(answer)
        return sum(int(entry["value"]) for entry in document["stats"] if "value" in entry)


def drain(
    envoy: DrainedEnvoy,
    marker: Path,
    minimum_seconds: float,
    maximum_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until Envoy serves nothing; False if requests were still running when the time was over.

    The marker fails the readiness first. New connections are accepted for at least `minimum_seconds`, because other
    nodes learn late that this pod leaves. An Envoy that does not answer has nothing to wait for.
    """
    begin = clock()
    marker.touch()
    quiet = 0
    try:
        envoy.begin()
        while quiet < _QUIET_POLLS or clock() - begin < minimum_seconds:
            if clock() - begin >= max(minimum_seconds, maximum_seconds):
                return False
            sleep(_POLL_SECONDS)
            quiet = quiet + 1 if envoy.active() == 0 else 0
    except OSError:
        return True
    return True
