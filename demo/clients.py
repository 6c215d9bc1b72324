"""The traffic pod from outside: start and stop it, and fetch what it noted, through the API server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from demo.api import Api, Unanswered, service_proxy
from demo.errors import DemoError
from demo.traffic.records import Record, record_of
from demo.traffic.script import Load

MAX_RECORDS = 200_000
_FETCH_SECONDS = 3.0
_STOP_SECONDS = 30.0


class Clients:
    """All requests of the traffic pod so far, at most `MAX_RECORDS`."""

    def __init__(self, api: Api, namespace: str, service: str, port: int) -> None:
        self._api = api
        self._place = (namespace, service, port)
        self._cursor = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._problem: DemoError | None = None
        self.records: list[Record] = []
        self.failures = 0

    def start(self, load: Load) -> None:
        """Begin the traffic.

        Raises:
            DemoError: it runs already, or the pod does not answer.
        """
        self._api.post(self._path("start"), asdict(load))

    def finish(self) -> None:
        """Ask nothing any more; what was asked is still answered."""
        self._api.post(self._path("finish"), {})

    def stop(self) -> None:
        """Stop at once; requests in flight are not noted."""
        self._api.post(self._path("stop"), {})

    @property
    def running(self) -> bool:
        """Whether conversations are held.

        Raises:
            DemoError: the traffic ended with an error.
        """
        summary = self._api.get(self._path("summary"))
        if "error" in summary:
            raise DemoError(f"the traffic ended: {summary['error']}")
        return bool(summary["running"])

    @contextmanager
    def collecting(self) -> Iterator[Clients]:
        """Fetch records every few seconds while the block runs, and once at its end.

        Raises:
            DemoError: records were lost, or there were too many.
        """
        thread = threading.Thread(target=self._collect, name="records", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(_STOP_SECONDS)
        self.fetch()

    def _collect(self) -> None:
        while not self._stop.wait(_FETCH_SECONDS):
            try:
                self.fetch()
            except Unanswered:
                continue
            except DemoError as error:
                self._problem = error
                return

    def check(self) -> None:
        """Raise what went wrong while collecting, if anything did."""
        if self._problem is not None:
            raise self._problem

    def fetch(self) -> None:
        """Fetch what is new.

        Raises:
            DemoError: records were lost, or there are too many.
        """
        with self._lock:
            while self._fetch_page():
                if len(self.records) > MAX_RECORDS:
                    raise DemoError(f"more than {MAX_RECORDS} requests: the demo takes too long")

    def _fetch_page(self) -> bool:
        page = self._api.get(self._path("records"), since=str(self._cursor))
        if page["lost"]:
            raise DemoError(f"{page['lost']} records were overwritten before they were fetched")
        fresh = [record_of(row) for row in page["rows"]]
        self.records += fresh
        self.failures += sum(record.status != 200 for record in fresh)  # noqa: PLR2004 - HTTP's OK
        self._cursor = page["cursor"]
        return bool(fresh)

    def _path(self, name: str) -> str:
        namespace, service, port = self._place
        return service_proxy(namespace, service, port, name)
