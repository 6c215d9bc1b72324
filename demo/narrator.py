"""Tells what happens to an agent, a line per event, from its status and its Events; notes weights in force."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from demo.api import Api, Document
from demo.console import Console
from demo.errors import DemoError
from demo.report import WeightChange

_PAUSE_SECONDS = 1.0
_STOP_SECONDS = 10.0
_WATCH_SECONDS = 5
_MAX_MESSAGE = 110
_STEP = re.compile(r"step (\d+)/\d+:")


class Narrator:
    """Watches one agent in two threads until the block ends."""

    def __init__(self, api: Api, console: Console, namespace: str, agent: str) -> None:
        self._api = api
        self._console = console
        self._agents = f"/apis/greylag.dev/v1alpha1/namespaces/{namespace}/agentdeployments"
        self._events = f"/api/v1/namespaces/{namespace}/events"
        self._agent = agent
        self._stop = threading.Event()
        self._status: Document = {}
        self._steps: list[Document] = []
        self._weights: dict[str, int] = {}
        self.changes: list[WeightChange] = []

    @property
    def status(self) -> Document:
        """The agent's status as last seen."""
        return self._status

    @contextmanager
    def watching(self) -> Iterator[Narrator]:
        """Watch while the block runs."""
        jobs = (
            self._follow(self._agents, "metadata.name", self._see),
            self._follow(self._events, "involvedObject.name", self._tell),
        )
        threads = [threading.Thread(target=job, name="narrator", daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(_STOP_SECONDS)

    def _follow(self, path: str, field: str, take: Callable[[Document], None]) -> Callable[[], None]:
        selector = {"fieldSelector": f"{field}={self._agent}"}

        def follow() -> None:
            seen: set[str] = set()
            while not self._stop.is_set():
                try:
                    self._list_and_watch(path, selector, take, seen)
                except DemoError as error:
                    self._console.say(f"  watching {path.rpartition('/')[2]}: {error}; trying again")
                    self._stop.wait(_PAUSE_SECONDS)

        return follow

    def _list_and_watch(
        self, path: str, selector: Mapping[str, str], take: Callable[[Document], None], seen: set[str]
    ) -> None:
        listing = self._api.get(path, **selector)
        for item in listing["items"]:
            _once(item, take, seen)
        version = listing["metadata"]["resourceVersion"]
        for event in self._api.watch(path, version, _WATCH_SECONDS, **selector):
            if self._stop.is_set():
                return
            if event["type"] in {"ADDED", "MODIFIED"}:
                _once(event["object"], take, seen)

    def _see(self, manifest: Document) -> None:
        """Take a status: note weights that every gateway has confirmed, and tell of them."""
        self._steps = manifest["spec"].get("rollout", {}).get("canary", {}).get("steps", [])
        self._status = manifest.get("status", {})
        traffic = self._status.get("traffic", [])
        if not traffic or not all(entry["verified"] for entry in traffic):
            return
        weights = {entry["revision"]: entry["weight"] for entry in traffic if entry["weight"]}
        if weights != self._weights:
            self._weights = weights
            self.changes.append(WeightChange(time.time(), weights))
            shares = ", ".join(f"{name} {weight} %" for name, weight in weights.items())
            self._console.say(f"WEIGHT    in force on every gateway: {shares}")

    def _tell(self, event: Document) -> None:
        reason, message = event["reason"], event["message"]
        label = "VERDICT" if reason == "RolloutStepCompleted" and self._is_analysis(message) else _LABELS.get(reason)
        if label == "VERDICT":
            message = f"Pass: {message}"
        elif reason == "RolledBack":
            self._console.say("VERDICT   Fail")
        self._console.say(f"{label or 'EVENT':9} {reason}: {message}")

    def _is_analysis(self, message: str) -> bool:
        """Whether the step that a message such as `step 2/4: ...` names is an analysis."""
        found = _STEP.match(message)
        index = int(found[1]) - 1 if found else len(self._steps)
        return index < len(self._steps) and "analyze" in self._steps[index]

    def describe(self) -> str:
        """Present state in one line."""
        status = self._status
        metrics = status.get("analysis", {}).get("metrics", [])
        figures = "".join(
            f" [{metric['name']}: canary {metric['canary']} of {metric['canaryRequests']},"
            f" stable {metric['stable']} of {metric['stableRequests']}]"
            for metric in metrics
        )
        message = status.get("message", "no status yet")
        return f"  {status.get('phase', 'Waiting')}: {message[:_MAX_MESSAGE]}{figures}"


_LABELS = {
    "RevisionCreated": "REVISION",
    "RolloutStarted": "RELEASE",
    "RolloutStepCompleted": "STEP",
    "TrafficWeightUpdated": "WEIGHT",
    "AnalysisInconclusive": "PAUSE",
    "RolledBack": "ROLLBACK",
    "RolloutCompleted": "RELEASE",
}


def _once(item: Document, take: Callable[[Document], None], seen: set[str]) -> None:
    """Hand over an object unless this very version of it was."""
    metadata = item["metadata"]
    key = f"{metadata['uid']}/{metadata['resourceVersion']}"
    if key not in seen:
        seen.add(key)
        take(item)


def unix_time(text: str) -> float:
    """Unix seconds of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()


def promoted(status: Mapping[str, Any], generation: int) -> str | None:
    """Name of the revision that serves what this generation asks for, whole; None until then."""
    if status.get("observedGeneration") != generation or status.get("phase") != "Healthy":
        return None
    stable: str | None = status.get("stableRevision")
    return stable


def taken_back(status: Mapping[str, Any], generation: int) -> Mapping[str, Any] | None:
    """The rollback of what this generation asks for; None until then."""
    if status.get("observedGeneration") != generation or not status.get("rejectedRevision"):
        return None
    rollback: Mapping[str, Any] | None = status.get("lastRollback")
    return rollback
