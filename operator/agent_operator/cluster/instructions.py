"""Reads the ConfigMaps that agents take instructions and descriptions from, and notices when they change.

One watch for all of them (one a namespace if only some are watched) tells nothing but metadata; what agents name is
then read by name, and no text of anybody else is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agent_operator.cluster.api import Api
from agent_operator.cluster.errors import ApiError, NotFoundError, UnreachableError
from agent_operator.cluster.kinds import Kind
from agent_operator.cluster.store import Key, key_of
from agent_operator.core.resources.metadata import Manifest
from agent_operator.workqueue import WorkQueue

WATCH_SECONDS = 240.0
RETRY_SECONDS = 2.0
PAUSE_SECONDS = 0.5
READERS = 4
CONFIG_MAPS = Kind("v1", "ConfigMap", "configmaps", selector="")


@dataclass(frozen=True, slots=True)
class Source:
    """A ConfigMap as last seen: None if it is not there; `since` is when it changed (loop time, s)."""

    data: dict[str, str] | None
    since: float


def sources_of(agent: Manifest) -> Iterator[str]:
    """Names of the ConfigMaps that an AgentDeployment refers to, whatever else is wrong with it."""
    spec = agent.get("spec", {})
    places: list[tuple[str | int, ...]] = [("agent", "instructionsFrom", "configMapKeyRef")]
    places += [("tools", index, "http", "openAPI", "configMapKeyRef") for index in range(len(_list(spec)))]
    for place in places:
        reference = _at(spec, place)
        if isinstance(reference, dict) and isinstance(reference.get("name"), str):
            yield reference["name"]


def _list(spec: Any) -> list[Any]:  # noqa: ANN401 - JSON
    tools = _at(spec, ("tools",))
    return tools if isinstance(tools, list) else []


def _at(node: Any, place: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - JSON
    """Value at a place in JSON; None if there is no such place."""
    for step in place:
        if isinstance(step, int) and isinstance(node, list) and step < len(node):
            node = node[step]
        elif isinstance(step, str) and isinstance(node, dict):
            node = node.get(step)
        else:
            return None
    return node


class InstructionSources:
    """ConfigMaps by namespace and name; `changed` is told when one changes.

    `watching` is for requests that stay open; `namespaces` are those that may be watched, empty: all of them.
    """

    def __init__(
        self, api: Api, watching: Api, changed: Callable[[Key], None], namespaces: frozenset[str] = frozenset()
    ) -> None:
        self._api = api
        self._watching = watching
        self._changed = changed
        self._places: list[str | None] = [*sorted(namespaces)] or [None]
        self._tasks: list[asyncio.Task[None]] = []
        self._sources: dict[Key, Source] = {}
        self._versions: dict[Key, str] = {}
        self._turns: dict[Key, asyncio.Lock] = {}
        self._stale: WorkQueue[Key] = WorkQueue(self._read_again)

    async def read(self, key: Key) -> Source:
        """What a ConfigMap holds; from now on its changes are noticed.

        Raises
        ------
        ApiError
            If it is not known yet and cannot be read.
        """
        if not self._tasks:
            self._begin()
        if key not in self._sources:
            async with self._turn(key):
                if key not in self._sources:
                    await self._get(key)
        return self._sources[key]

    def keep(self, wanted: set[Key]) -> None:
        """Forget what no agent reads any more."""
        for key in [key for key, turn in self._turns.items() if key not in wanted and not turn.locked()]:
            del self._turns[key]
            self._sources.pop(key, None)
            self._versions.pop(key, None)

    def check(self) -> None:
        """Raise the error of a watch that died, so that its death is not silent."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    async def close(self) -> None:
        """End every watch."""
        self._stale.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    def _begin(self) -> None:
        for place in self._places:
            name = f"watch ConfigMaps of {place or 'all namespaces'}"
            self._tasks.append(asyncio.create_task(self._follow(place), name=name))
        self._tasks.append(asyncio.create_task(self._stale.run(READERS), name="read ConfigMaps"))

    def _turn(self, key: Key) -> asyncio.Lock:
        """Reads of one ConfigMap come after each other, so that the last answer is the newest."""
        return self._turns.setdefault(key, asyncio.Lock())

    async def _follow(self, place: str | None) -> None:
        version = ""
        while True:
            try:
                version = await self._watch(place, version or await self._list(place))
                pause = PAUSE_SECONDS
            except ApiError:
                version, pause = "", RETRY_SECONDS
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _list(self, place: str | None) -> str:
        """Look at everything once; returns the version to watch from."""
        items, version = await self._watching.list_metadata(CONFIG_MAPS, place)
        listed = {key_of(item): item["metadata"]["resourceVersion"] for item in items}
        for key in [key for key in self._turns if place in {None, key[0]}]:
            self._saw(key, listed.get(key, ""))
        return version

    async def _watch(self, place: str | None, version: str) -> str:
        """Follow changes until the API server ends the watch; returns the version to go on from."""
        async with self._watching.watch_metadata(CONFIG_MAPS, place, version=version, seconds=WATCH_SECONDS) as events:
            async for event in events:
                if event["type"] == "ERROR":
                    raise UnreachableError("the watch has expired")
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self._saw(key_of(event["object"]), "" if event["type"] == "DELETED" else version)
        return version

    def _saw(self, key: Key, version: str) -> None:
        """Have a ConfigMap read again that an agent names and that is not as it was."""
        if key in self._turns and self._versions.get(key) != version:
            self._stale.add(key)

    async def _read_again(self, key: Key) -> None:
        if key in self._turns:
            async with self._turn(key):
                await self._get(key)

    async def _get(self, key: Key) -> None:
        try:
            manifest = await self._api.get(CONFIG_MAPS, *key)
        except NotFoundError:
            self._take(key, None, "")
        else:
            self._take(key, dict(manifest.get("data") or {}), manifest["metadata"]["resourceVersion"])

    def _take(self, key: Key, data: dict[str, str] | None, version: str) -> None:
        self._versions[key] = version
        known = self._sources.get(key)
        if known is not None and known.data == data:
            return
        first = known is None
        self._sources[key] = Source(data, float("-inf") if first else asyncio.get_running_loop().time())
        if not first:
            self._changed(key)
