"""Watches, one by one, the ConfigMaps that agents read instructions and descriptions from: nothing else is read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from agent_operator.cluster.api import Api
from agent_operator.cluster.errors import ApiError, UnreachableError
from agent_operator.cluster.kinds import Kind
from agent_operator.cluster.store import Key
from agent_operator.core.resources.metadata import Manifest

WATCH_SECONDS = 240.0
RETRY_SECONDS = 2.0
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
    """ConfigMaps by namespace and name; `changed` is told when one changes."""

    def __init__(self, api: Api, changed: Callable[[Key], None]) -> None:
        self._api = api
        self._changed = changed
        self._watches: dict[Key, asyncio.Task[None]] = {}
        self._sources: dict[Key, Source] = {}

    async def read(self, key: Key) -> Source:
        """What a ConfigMap holds; begins to watch it."""
        if key not in self._watches:
            await self._list(key)
            self._watches[key] = asyncio.create_task(self._follow(key), name=f"watch ConfigMap {'/'.join(key)}")
        return self._sources[key]

    def keep(self, wanted: set[Key]) -> None:
        """Stop watching what no agent reads any more."""
        for key in self._watches.keys() - wanted:
            self._watches.pop(key).cancel()
            self._sources.pop(key, None)

    def check(self) -> None:
        """Raise the error of a watch that died, so that its death is not silent."""
        for watch in self._watches.values():
            if watch.done() and not watch.cancelled():
                watch.result()

    async def close(self) -> None:
        """End every watch."""
        watches = list(self._watches.values())
        self._watches.clear()
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)

    async def _follow(self, key: Key) -> None:
        while True:
            try:
                version = await self._list(key)
                await self._watch(key, version)
            except ApiError:
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - jitter

    async def _list(self, key: Key) -> str:
        items, version = await self._api.list(CONFIG_MAPS, key[0], field_selector=f"metadata.name={key[1]}")
        self._take(key, items[0] if items else None)
        return version

    async def _watch(self, key: Key, version: str) -> None:
        selector = f"metadata.name={key[1]}"
        async with self._api.watch(
            CONFIG_MAPS, key[0], field_selector=selector, version=version, seconds=WATCH_SECONDS
        ) as events:
            async for event in events:
                if event["type"] == "ERROR":
                    raise UnreachableError("the watch has expired")
                if event["type"] != "BOOKMARK":
                    self._take(key, None if event["type"] == "DELETED" else event["object"])

    def _take(self, key: Key, manifest: Manifest | None) -> None:
        data = None if manifest is None else dict(manifest.get("data") or {})
        known = self._sources.get(key)
        if known is not None and known.data == data:
            return
        first = known is None
        self._sources[key] = Source(data, float("-inf") if first else asyncio.get_running_loop().time())
        if not first:
            self._changed(key)
