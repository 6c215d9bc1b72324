"""When objects were first seen as wanted, by a watch from this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from demo.api import Api, Document
from demo.errors import DemoError

_WINDOW_SECONDS = 300
_GONE = "ERROR"

See = Callable[[Document], str | None]


class Sightings:
    """Watches the objects at a path while the block runs; `see` names the one that is as wanted, or says None."""

    def __init__(self, api: Api, path: str, see: See) -> None:
        self._api = api
        self._path = path
        self._see = see
        self._times: dict[str, float] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._error: DemoError | None = None

    def __enter__(self) -> Self:
        found = self._api.get(self._path)
        for item in found["items"]:
            self._look(item)
        version = found["metadata"]["resourceVersion"]
        # It ends with its window at the latest: a watch that stays silent cannot be told to stop.
        threading.Thread(target=self._watch, args=(version,), name="sightings", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True

    def _watch(self, version: str) -> None:
        end = DemoError(f"the watch of {self._path} ended")
        try:
            for event in self._api.watch(self._path, version, _WINDOW_SECONDS):
                if self._stopped or event["type"] == _GONE:
                    break
                self._look(event["object"])
        except DemoError as error:
            end = error
        with self._changed:
            self._error = end
            self._changed.notify_all()

    def _look(self, item: Document) -> None:
        name = self._see(item)
        if name is not None and name not in self._times:
            with self._changed:
                self._times[name] = time.monotonic()
                self._changed.notify_all()

    def await_all(self, names: Collection[str], seconds: float) -> dict[str, float]:
        """Times of the monotonic clock, by name, once all of `names` were seen.

        Raises:
            DemoError: they are not all seen within `seconds`, or the watch broke.
        """
        times = self.await_most(names, seconds)
        missing = set(names) - times.keys()
        if missing:
            raise DemoError(f"{self._path}: {len(missing)} of {len(names)} not as wanted after {seconds:.0f} s")
        return times

    def await_most(self, names: Collection[str], seconds: float) -> dict[str, float]:
        """As `await_all`, but times of those that were seen in time, if not all are.

        Raises:
            DemoError: the watch broke.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._times.keys() >= set(names), seconds)
            times = dict(self._times)
            if self._error is not None and set(names) - times.keys():
                raise self._error
            return times
