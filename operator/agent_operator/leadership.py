"""One term of leadership: everything that only the leader does, begun whole and ended whole."""

from __future__ import annotations

import asyncio
import math
import random

import aiohttp
import structlog

from agent_operator.cluster.acknowledgements import Acknowledgements
from agent_operator.cluster.api import Api
from agent_operator.cluster.errors import ApiError
from agent_operator.cluster.events import Events
from agent_operator.cluster.instructions import InstructionSources, sources_of
from agent_operator.cluster.kinds import AGENT_DEPLOYMENT, WATCHED
from agent_operator.cluster.namespace import NamespaceGateway
from agent_operator.cluster.observer import Observer
from agent_operator.cluster.peers import Peers
from agent_operator.cluster.reports import Reports
from agent_operator.cluster.store import Key, Store, key_of
from agent_operator.cluster.targets import Targets
from agent_operator.cluster.trial_store import TrialStore
from agent_operator.cluster.writer import Writer
from agent_operator.handlers.intake import Intake
from agent_operator.handlers.watching import make_registry, make_settings, watch
from agent_operator.reconcile import AgentKey, Reconciler, WorkKey
from agent_operator.settings import Settings
from agent_operator.telemetry import Telemetry
from agent_operator.workqueue import WorkQueue

RELIST_RETRY = 2.0
CHECK_SECONDS = 5.0
SLICE_SECONDS = 0.5
log = structlog.get_logger(__name__)


class Term:
    """A term: built when the lease is won, run until it is lost, and thrown away."""

    def __init__(
        self, api: Api, watching: Api, session: aiohttp.ClientSession, settings: Settings, telemetry: Telemetry
    ) -> None:
        """`watching` is for requests that stay open: they must not take connections from `api`."""
        self._api = api
        self._settings = settings
        self._telemetry = telemetry
        self._store = Store()
        self._acknowledgements = Acknowledgements(session, self._ask_agent)
        self._instructions = InstructionSources(api, watching, self._instructions_changed, settings.namespaces())
        installation = settings.installation()
        peers = Peers(session)
        self._reports = Reports(peers, self._ask_agent)
        targets = Targets(self._instructions, installation)
        observer = Observer(self._store, peers, self._acknowledgements, targets, self._reports, installation)
        self._events = Events(api)
        writer = Writer(api, self._store, observer.wrote_route, self._events)
        trial_store = TrialStore(self._store, writer, api, installation)
        gateway = NamespaceGateway(self._store, writer, observer, self._acknowledgements, trial_store, installation)
        reconciler = Reconciler(observer, writer, gateway, telemetry)
        self._queue: WorkQueue[WorkKey] = WorkQueue(reconciler.reconcile, lambda key: key.namespace)
        reconciler.enqueue = self._queue.add
        self._intake = Intake(self._store, self._queue.add, settings.namespaces())
        self._stop = asyncio.Event()
        self._owner: asyncio.Task[None] | None = None

    async def run(self, lost: asyncio.Task[None]) -> None:
        """Lead until `lost` is done or the process is asked to end; raises the error that ended it otherwise."""
        lost.add_done_callback(lambda _task: self._stop.set())
        registry = make_registry(self._intake, self._begin, self._end)
        await watch(registry, make_settings(), self._settings.namespaces(), self._stop)
        if self._owner is not None and self._owner.done() and not self._owner.cancelled():
            self._owner.result()

    async def _begin(self) -> None:
        self._owner = asyncio.create_task(self._work(), name="leader's work")
        self._owner.add_done_callback(lambda _task: self._stop.set())

    async def _end(self) -> None:
        if self._owner is not None:
            self._owner.cancel()
            await asyncio.gather(self._owner, return_exceptions=True)
        self._queue.close()
        await self._acknowledgements.close()
        await self._instructions.close()

    async def _work(self) -> None:
        """Own every background task of the term: the death of one ends the term with its error."""
        await self._relist_until_done()
        self._intake.enqueue_all()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._queue.run(self._settings.workers), name="queue")
            group.create_task(self._resync(), name="resync")
            group.create_task(self._check(), name="check")
            group.create_task(self._reports.run(), name="reports")
            group.create_task(self._events.run(), name="events")

    async def _relist_until_done(self) -> None:
        while True:
            try:
                await self._relist()
            except ApiError as error:
                log.warning("listing failed", error=str(error))
                await asyncio.sleep(RELIST_RETRY)
            else:
                return

    async def _relist(self) -> None:
        """List everything: closes the gap that a watch leaves when it misses a deletion."""
        namespaces: list[str | None] = [*sorted(self._settings.namespaces())] or [None]
        for kind in WATCHED:
            manifests, newest = [], 0
            for namespace in namespaces:
                items, version = await self._api.list(kind, namespace)
                manifests += items
                newest = max(newest, int(version))
            self._store.replace_all(kind, manifests, newest)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._settings.resync_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            await self._relist_until_done()
            await self._look_at_all()
            self._instructions.keep(self._wanted_instructions())

    async def _look_at_all(self) -> None:
        """Ask for work on everything, a few keys at a time, over half of the time until the next round."""
        keys = self._intake.keys()
        slices = max(1, int(self._settings.resync_seconds / 2 / SLICE_SECONDS))
        size = max(1, math.ceil(len(keys) / slices))
        for begin in range(0, len(keys), size):
            for key in keys[begin : begin + size]:
                self._queue.add(key)
            await asyncio.sleep(SLICE_SECONDS)

    def _wanted_instructions(self) -> set[Key]:
        agents = self._store.all(AGENT_DEPLOYMENT)
        return {(key_of(agent)[0], source) for agent in agents for source in sources_of(agent)}

    def _instructions_changed(self, source: Key) -> None:
        namespace, name = source
        for agent in self._store.in_namespace(AGENT_DEPLOYMENT, namespace):
            if name in sources_of(agent):
                self._ask_agent(key_of(agent))

    def _ask_agent(self, agent: Key) -> None:
        self._queue.add(AgentKey(*agent))

    async def _check(self) -> None:
        """Notice the death of polls and watches, and show the queue."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self._acknowledgements.check()
            self._instructions.check()
            self._telemetry.queue_depth.set(self._queue.depth())
