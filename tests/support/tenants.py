"""An operator over an API server in memory, whose tenants write whatever an API server stores."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from agent_api.observations import Observations
from agent_operator.cluster import kinds
from agent_operator.cluster.errors import ConflictError, NotFoundError
from agent_operator.cluster.events import Events
from agent_operator.cluster.instructions import Source
from agent_operator.cluster.kinds import Kind, kind_of
from agent_operator.cluster.namespace import NamespaceGateway
from agent_operator.cluster.observer import Observer
from agent_operator.cluster.peers import Unreadiness
from agent_operator.cluster.reports import Reports
from agent_operator.cluster.store import Store
from agent_operator.cluster.targets import Targets
from agent_operator.cluster.trial_store import TrialStore
from agent_operator.cluster.writer import Writer
from agent_operator.handlers.intake import Intake
from agent_operator.reconcile import AgentKey, Reconciler, WorkKey
from agent_operator.telemetry import Telemetry
from agent_operator.workqueue import WorkQueue
from tests.support.agents import installation, minimal_spec

Manifest = dict[str, Any]
WATCHED_BY_TENANTS = (
    kinds.AGENT_DEPLOYMENT,
    kinds.AGENT_ROUTE,
    kinds.CONFIG_MAP,
    kinds.DEPLOYMENT,
    kinds.SERVICE,
    kinds.POD,
    kinds.REPLICA_SET,
)
DEEP: Any = []
for _ in range(150):
    DEEP = [DEEP]
NASTY: tuple[Any, ...] = (
    None, True, 0, -1, 1 << 70, 1e308, "", "x" * 5000, "\x00", "99999999999999999999h", "{", "[" * 50_000, "null", "{}",
    [], {}, [None], [[]], {"": ""}, {"name": None}, DEEP,
)  # fmt: skip


class MemoryApi:
    """Stores what it is given, gives each write a version, and hands it back."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.version = 0

    def _key(self, kind: Kind, manifest: Manifest) -> tuple[str, str, str]:
        return kind.kind, manifest["metadata"]["namespace"], manifest["metadata"]["name"]

    def store(self, kind: Kind, manifest: Manifest) -> Manifest:
        self.version += 1
        key = self._key(kind, manifest)
        uid = self.objects.get(key, {}).get("metadata", {}).get("uid") or f"uid-{self.version}"
        metadata = {
            "generation": 1,
            "labels": {},
            **manifest["metadata"],
            "uid": uid,
            "resourceVersion": str(self.version),
        }
        kept = {"apiVersion": kind.api_version, "kind": kind.kind, **manifest, "metadata": metadata}
        self.objects[key] = kept
        return copy.deepcopy(kept)

    async def get(self, kind: Kind, namespace: str, name: str) -> Manifest:
        if (kind.kind, namespace, name) not in self.objects:
            raise NotFoundError(name)
        return copy.deepcopy(self.objects[kind.kind, namespace, name])

    async def apply(
        self, kind: Kind, manifest: Manifest, _manager: str, *, force: bool, subresource: str = ""
    ) -> Manifest:
        del force
        known = self.objects.get(self._key(kind, manifest), {})
        if subresource == "status":
            if not known:
                raise NotFoundError("no such agent")
            return self.store(kind, {**known, "status": manifest["status"]})
        return self.store(kind, {**({"status": known["status"]} if "status" in known else {}), **manifest})

    async def create(self, kind: Kind, _namespace: str, manifest: Manifest, _manager: str) -> Manifest:
        if self._key(kind, manifest) in self.objects:
            raise ConflictError("it exists")
        return self.store(kind, manifest)

    async def replace(self, kind: Kind, _namespace: str, _name: str, manifest: Manifest, _manager: str) -> Manifest:
        return self.store(kind, manifest)

    async def delete(self, kind: Kind, manifest: Manifest) -> None:
        self.objects.pop(self._key(kind, manifest), None)

    async def scale(self, _kind: Kind, _namespace: str, _name: str, _replicas: int, _manager: str) -> None:
        return None


class _Pods:
    """Pods, gateways and texts that answer nothing, or whatever a case says."""

    def __init__(self) -> None:
        self.observed: dict[str, Observations] = {}
        self.unready = ""

    async def unreadiness(self, peers: list[Any]) -> list[Unreadiness]:
        return [Unreadiness(self.unready) for _ in peers]

    async def observations(self, peers: list[Any], _agent: str, _since: int) -> dict[str, Observations]:
        return {peer.name: self.observed[peer.name] for peer in peers if peer.name in self.observed}

    async def report(self, _peer: Any) -> None:
        return None

    def applied(self, _namespace: str, _agent: str) -> dict[str, Any]:
        return {}

    def fields(self, _namespace: str) -> dict[str, Any]:
        return {}

    def asked(self, _namespace: str, _pods: Any) -> bool:
        return True

    def follow(self, _namespace: str, _peers: Any) -> None:
        return None

    async def read(self, _key: Any) -> Source:
        return Source(None, float("-inf"))


class Operator:
    """The real queue, reconciler, observer and writer, over memory."""

    def __init__(self) -> None:
        self.api, self.known, self.pods = MemoryApi(), Store(), _Pods()
        made: Any = self.pods
        api: Any = self.api
        values = installation()
        observer = Observer(self.known, made, made, Targets(made, values), Reports(made, lambda _key: None), values)
        self.events = Events(api)
        writer = Writer(api, self.known, observer.wrote_route, self.events)
        trial = TrialStore(self.known, writer, api, values)
        self.gateway = NamespaceGateway(self.known, writer, observer, made, trial, values)
        reconciler = Reconciler(observer, writer, self.gateway, Telemetry())
        self.rounds: dict[WorkKey, int] = {}

        async def work(key: WorkKey) -> float | None:
            try:
                await reconciler.reconcile(key)
            finally:
                self.rounds[key] = self.rounds.get(key, 0) + 1
            return None

        self.queue: WorkQueue[WorkKey] = WorkQueue(work, lambda key: key.namespace)
        reconciler.enqueue = self.queue.add
        self.intake = Intake(self.known, self.queue.add, frozenset())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Work in the background; the task ends only with a fault of the queue itself."""
        task = asyncio.create_task(self.queue.run(4))
        posts = asyncio.create_task(self.events.run())
        try:
            yield task
        finally:
            self.queue.close()
            for running in (task, posts):
                running.cancel()
            await asyncio.gather(task, posts, return_exceptions=True)

    def writes(self, kind: Kind, manifest: Manifest) -> None:
        """Somebody writes an object, and its event arrives."""
        self.intake.take(kind, "MODIFIED", self.api.store(kind, manifest))

    def make_agent(self, namespace: str, name: str = "support") -> None:
        self.writes(
            kinds.AGENT_DEPLOYMENT, {"metadata": {"namespace": namespace, "name": name}, "spec": minimal_spec()}
        )

    async def looked_at(self, key: AgentKey, seconds: float) -> None:
        """Wait for one more round of a key; raises TimeoutError if it does not come in time."""
        before = self.rounds.get(key, 0)
        self.queue.add(key)
        async with asyncio.timeout(seconds):
            while self.rounds.get(key, 0) == before:
                await asyncio.sleep(0)

    def of_namespace(self, namespace: str) -> list[tuple[Kind, Manifest]]:
        """What tenants of a namespace may edit there."""
        known = {kind.kind for kind in WATCHED_BY_TENANTS}
        found = [
            item for (kind, place, _), item in sorted(self.api.objects.items()) if place == namespace and kind in known
        ]
        return [(kind_of(item), copy.deepcopy(item)) for item in found]


def mutated(manifest: Manifest, chance: random.Random) -> Manifest:
    """A manifest with one value replaced, removed or added somewhere below what an API server leaves to its writer."""
    places = [place for part in ("spec", "status", "data") for place in _places(manifest, part)]
    metadata = manifest["metadata"]
    if chance.random() < 0.2 or not places:
        field = chance.choice(("annotations", "labels"))
        texts = dict(metadata.get(field) or {"x": "y"})
        texts[chance.choice(sorted(texts))] = chance.choice([value for value in NASTY if isinstance(value, str)])[:60]
        return {**manifest, "metadata": {**metadata, field: texts}}
    holder, name = chance.choice(places)
    if chance.random() < 0.2 and isinstance(holder, dict):
        del holder[name]
    else:
        holder[name] = copy.copy(chance.choice(NASTY))
    return manifest


def _places(holder: Any, name: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    """Every place at and below a member."""
    try:
        value = holder[name]
    except (KeyError, IndexError):
        return
    yield holder, name
    if depth > 12:
        return
    members = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for member in members:
        yield from _places(value, member, depth + 1)
