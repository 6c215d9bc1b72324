"""When each gateway said that it has a serial in force: long polls from this machine, as the operator does them."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from agent_api.acknowledgement import APPLIED_PATH, GATEWAY_CONTROL_PORT, Applied
from demo.errors import DemoError

_WAIT_SECONDS = 2
_TIMEOUT_SECONDS = 10
_JOIN_SECONDS = _TIMEOUT_SECONDS + 1


class Acknowledgements:
    """Asks gateways, by name and address, about one agent while the block runs."""

    def __init__(self, gateways: Mapping[str, str], agent: str) -> None:
        self._agent = agent
        self._seen: dict[str, dict[int, float]] = {name: {} for name in gateways}
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._error: DemoError | None = None
        self._threads = [
            threading.Thread(target=self._follow, args=(name, address), name=f"applied-{name}", daemon=True)
            for name, address in gateways.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)

    def _follow(self, name: str, address: str) -> None:
        connection = http.client.HTTPConnection(address, GATEWAY_CONTROL_PORT, timeout=_TIMEOUT_SECONDS)
        version = -1
        try:
            while not self._stopped.is_set():
                connection.request("GET", f"{APPLIED_PATH}?since={version}&wait={_WAIT_SECONDS}")
                response = connection.getresponse()
                text, now = response.read(), time.time()
                # A problem document is no `Applied` either.
                version = self._take(name, Applied.model_validate_json(text), now)
        except (OSError, http.client.HTTPException, ValidationError) as error:
            with self._changed:
                self._error = DemoError(f"gateway {name}: {error}")
                self._changed.notify_all()
        finally:
            connection.close()

    def _take(self, name: str, applied: Applied, now: float) -> int:
        route = applied.routes.get(self._agent)
        if route is not None:
            with self._changed:
                self._seen[name].setdefault(route.serial, now)
                self._changed.notify_all()
        return applied.version

    def await_serial(self, serial: int, seconds: float) -> None:
        """Wait until every gateway has this serial, or a newer one, in force.

        Raises:
            DemoError: that takes longer, or a gateway did not answer.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._in_force(serial) is not None, seconds)
            if self._error is not None:
                raise self._error
            if self._in_force(serial) is None:
                raise DemoError(f"serial {serial} is not in force on all gateways after {seconds:.0f} s")

    def in_force(self, serial: int) -> float | None:
        """Unix time in seconds at which the last gateway said that it has this serial or a newer one in force."""
        with self._changed:
            return self._in_force(serial)

    def _in_force(self, serial: int) -> float | None:
        times = [last_to_have(seen, serial) for seen in self._seen.values()]
        known = [moment for moment in times if moment is not None]
        return max(known) if known and len(known) == len(times) else None


def last_to_have(seen: Mapping[int, float], serial: int) -> float | None:
    """When a gateway first had a serial or a newer one."""
    return min((moment for number, moment in seen.items() if number >= serial), default=None)
