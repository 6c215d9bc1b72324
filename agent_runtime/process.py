"""What one process is made of: the only place that puts the parts together."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from agent_api.report import RuntimeReport
from agent_runtime.access.control import AccessControl
from agent_runtime.agent import Agent, ApprovalNeeded
from agent_runtime.background import Background
from agent_runtime.cache.answers import AnswerCache
from agent_runtime.clock import SteadyClock
from agent_runtime.conversations.history import ConversationStore, HistoryLimits
from agent_runtime.conversations.keys import ConversationKeys, new_key
from agent_runtime.core.booking import Ledger
from agent_runtime.core.conversation_ids import ConversationIds
from agent_runtime.core.policy import PolicyInvalid
from agent_runtime.document import StartRefused
from agent_runtime.documents import AnswerDocuments
from agent_runtime.failures import failure_of_store
from agent_runtime.guards.input import InputGuard
from agent_runtime.guards.output import OutputGuard
from agent_runtime.limits.admission import Admission
from agent_runtime.live import Live
from agent_runtime.llm.breaker import Breakers
from agent_runtime.llm.chain import ChainParts, build_chain, open_http_client
from agent_runtime.llm.client import LedgerUnavailable
from agent_runtime.llm.credentials import Credentials
from agent_runtime.money.ledger import SpendLedger
from agent_runtime.money.pricing import resolve_price
from agent_runtime.record import RunBook
from agent_runtime.routes.tasks import problem_of
from agent_runtime.runs import RunDesk, RunParts
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.store.connection import open_store
from agent_runtime.task_runs import TaskRuns
from agent_runtime.tasks.execution import too_large
from agent_runtime.tasks.feed import EventFeed
from agent_runtime.tasks.records import TaskOrder, TaskRefused
from agent_runtime.tasks.runner import Waiting
from agent_runtime.tasks.store import ProgressTooLarge, TaskStore
from agent_runtime.tasks.worker import TaskWorker
from agent_runtime.telemetry.metrics import RuntimeMetrics
from agent_runtime.telemetry.tracing import Identity, open_tracing
from agent_runtime.telemetry.watch import ProcessWatch
from agent_runtime.tools.box import ToolboxOfSources

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

    from agent_api.report import SpendReport
    from agent_api.runtime_document import RuntimeDocument
    from agent_runtime.core.loop import ToolCall
    from agent_runtime.routes.wire import RunRequest
    from agent_runtime.runs import Asker
    from agent_runtime.settings import Settings
    from agent_runtime.store.connection import Store
    from agent_runtime.telemetry.tracing import Tracing

OVERDUE_MARGIN_SECONDS = 5.0
"""A run ends itself at its deadline; only one that is stuck is still there this much later."""

TOOLS_LISTED_SECONDS = 5.0
GAUGES_SECONDS = 5.0


@dataclass(slots=True)
class Drain:
    """Whether the process is going away; set once, by the server."""

    begun: bool = False


@dataclass(frozen=True, slots=True)
class Shared:
    """What pods share through the store; a revision older than the store has none of it."""

    store: Store
    spend: SpendLedger
    tasks: TaskStore
    feed: EventFeed
    worker: TaskWorker
    conversations: ConversationStore
    keys: ConversationKeys


@dataclass(frozen=True, slots=True)
class ProcessContext:
    """Everything a route needs."""

    document: RuntimeDocument
    settings: Settings
    credentials: Credentials
    clock: SteadyClock
    ledger: Ledger
    metrics: RuntimeMetrics
    tracing: Tracing
    http: httpx2.AsyncClient
    live: Live
    access: AccessControl
    breakers: Breakers
    toolbox: ToolboxOfSources
    desk: RunDesk
    book: RunBook
    ids: ConversationIds
    documents: AnswerDocuments
    redact: Callable[[str], str]
    shared: Shared | None
    background: Background = field(default_factory=Background)
    drain: Drain = field(default_factory=Drain)

    def unreadiness(self) -> list[str]:
        """Reasons why no gateway should send runs here, for the operator to show; empty if ready."""
        reasons = [
            f"Secret key for model {self.document.endpoints[position].model} (position {position}) {wrong}"
            for position, wrong in self.credentials.missing().items()
        ]
        if not self.live.usable():
            reasons.append("The live document was not read yet: who is let in, and the budgets, are not known")
        if nobody := self.access.unreadiness():
            reasons.append(f"Nobody can be let in yet: {nobody}")
        if self.shared is not None:
            store = self.shared.store.report()
            if not store.was_reached:
                reasons.append(f"The store was not reached yet: {store.reason or 'no answer'}")
            elif not self.shared.keys.shared:
                reasons.append("The key of conversation ids was not read from the store yet")
        return ["The process is terminating", *reasons] if self.drain.begun else reasons

    def secrets(self) -> tuple[str, ...]:
        """Everything seen lately that must be in no log."""
        return (*self.credentials.secrets(), *self.toolbox.secrets())

    async def adopt(self, body: RunRequest, asker: Asker, waiting: ApprovalNeeded) -> dict[str, Any]:
        """Make a task of a run that waits for a person; raises Problem without a store."""
        if self.shared is None:
            raise failure_of_store("A call that waits for approval").problem
        # People know a tool by the name that the policy has for it.
        calls = tuple(replace(call, name=self.tool_name(call)) for call in waiting.calls)
        order = TaskOrder(
            request=body.model_dump(mode="json"),
            user=asker.user,
            revision=self.document.revision,
            request_id=asker.request_id,
            run_id=asker.run_id,
            conversation_id=str(asker.turn.conversation),
            continues=asker.continues,
            waiting=Waiting(waiting.progress, calls),
        )
        try:
            created = await self.shared.tasks.create(order)
        except StoreUnavailable:
            raise failure_of_store("A call that waits for approval").problem from None
        except TaskRefused as refusal:
            raise problem_of(refusal) from None
        except ProgressTooLarge as error:
            raise too_large(error) from None
        return {
            "task_id": created.task_id,
            "status": created.state.value,
            "conversation_id": str(asker.turn.conversation),
            "approvals": [{"id": call.id, "name": call.name, "arguments": _arguments(call)} for call in calls],
        }

    def tool_name(self, call: ToolCall) -> str:
        """Name of a called tool as the policy knows it."""
        tool = self.toolbox.resolve(call.name)
        return call.name if tool is None else tool.name

    async def report(self) -> RuntimeReport:
        """State of what all pods share, for the operator."""
        shared = self.shared
        # While the store is known to be away, the operator is told so at once: to try it takes longer than he waits.
        away = shared is not None and not shared.store.report().reachable
        spend = None if away else await self._spend()
        return RuntimeReport(
            instance=self.settings.pod_name,
            store=None if shared is None else shared.store.report(),
            breakers=self.breakers.open_breakers(),
            spend=spend,
            ledger_lost=shared is not None and shared.spend.lost,
            budget_exhausted=shared is not None and shared.spend.exhausted,
            tools_unavailable=self.toolbox.unavailable(),
        )

    async def _spend(self) -> SpendReport | None:
        if self.shared is None:
            return None
        try:
            return await self.shared.spend.spend()
        except LedgerUnavailable:
            return None

    async def start(self) -> None:
        """Begin what goes on beside requests, and wait a little for tools to be listed."""
        self.background.start("tools", self.toolbox.run())
        self.background.start("breakers", self.breakers.run())
        self.background.start("gauges", self._gauges())
        if self.shared is not None:
            self.background.start("store", self.shared.store.run())
            self.background.start("ledger", self.shared.spend.run())
            self.background.start("keys", self.shared.keys.run())
            self.shared.feed.start()
            self.shared.worker.start()
        await self.toolbox.listed(TOOLS_LISTED_SECONDS)
        self.metrics.know_tools(spec.name for spec in self.toolbox.specs())

    async def stop(self) -> None:
        """End it: tasks go back to the queue, what is owed is paid, spans are sent."""
        if self.shared is not None:
            await self.shared.worker.stop()
            await self.shared.feed.stop()
        await self.background.stop()
        await self.toolbox.aclose()
        if self.shared is not None:
            await self.shared.spend.aclose()
            await self.shared.store.aclose()
        await self.tracing.close()
        await self.http.aclose()

    async def _gauges(self) -> None:
        """Bring the gauges of shared state up to date; also the watch over the parts that own their tasks."""
        watch = ProcessWatch(self.metrics.process_seen)
        watch.start()
        try:
            while True:
                await self._look()
                await asyncio.sleep(GAUGES_SECONDS)
        finally:
            await watch.stop()

    async def _look(self) -> None:
        self.metrics.know_tools(spec.name for spec in self.toolbox.specs())
        shut = {breaker.model for breaker in self.breakers.open_breakers()}
        for endpoint in self.document.endpoints:
            self.metrics.breaker_changed(endpoint.model, "open" if endpoint.model in shut else "closed")
        shared = self.shared
        if shared is None:
            return
        if not (shared.worker.alive and shared.feed.alive) and not self.drain.begun:
            raise RuntimeError("the worker of tasks or the feed of their events ended")
        self.metrics.store_seen(shared.store.report().reachable)
        spend = await self._spend()
        if spend is not None:
            self.metrics.spend_seen(spend.spent_micro, self.live.current().budgets.daily_micro)
        try:
            counts = await shared.tasks.counts()
        except StoreUnavailable:
            return
        self.metrics.tasks_seen({"running": counts.running, "waiting": counts.waiting}, counts.queued)


def _arguments(call: ToolCall) -> object:
    try:
        return orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        return call.arguments


def build_process(settings: Settings, document: RuntimeDocument, store: Store | None = None) -> ProcessContext:
    """Put a process together; `store` stands in for the one that the settings name.

    Raises
    ------
    StartRefused
        If a part of the document cannot be used.
    """
    return _Builder(settings, document, store).build()


class _Builder:
    """Makes the parts in the order in which they need each other."""

    def __init__(self, settings: Settings, document: RuntimeDocument, store: Store | None) -> None:
        self.settings = settings
        self.document = document
        # Whoever names the document has one.
        self.live = Live(settings.live, required="live" in settings.model_fields_set)
        self.clock = SteadyClock()
        overdue_after = document.timeout_seconds + OVERDUE_MARGIN_SECONDS
        self.ledger = Ledger(settings.pod_name, document.revision, self.clock.now(), overdue_after)
        models = [endpoint.model for endpoint in document.endpoints]
        self.metrics = RuntimeMetrics(document.revision, lambda: self.ledger.in_flight, models)
        self.output_guard = OutputGuard(document.guards)
        identity = Identity(document.agent, document.namespace, document.revision, settings.pod_name)
        capture = self._redacted if settings.capture_content else None
        self.tracing = open_tracing(identity, os.environ, capture)
        self.credentials = Credentials(settings.credentials_directory, settings.credentials)
        if store is None and settings.store_directory is not None:
            store = open_store(settings.store_directory, document.namespace, document.agent)
        self.store = store
        self.spend = None if store is None else SpendLedger(store, document.revision, self.live.current)
        self.breakers = Breakers(document, store)
        now = datetime.now(UTC)
        self.prices = tuple(resolve_price(endpoint, now) for endpoint in document.endpoints)
        self.http = open_http_client()
        self.toolbox = self._toolbox()
        self.drain = Drain()
        self.ids = ConversationIds(document.revision, (new_key(),))

    def _toolbox(self) -> ToolboxOfSources:
        try:
            return ToolboxOfSources(
                self.document.tools,
                self.document.tool_policy,
                headers_directory=self.settings.headers_directory,
                observer=self.metrics.tool_ended,
            )
        except PolicyInvalid as error:
            raise StartRefused(f"document: toolPolicy: {error}") from None

    def build(self) -> ProcessContext:
        """The process."""
        conversations = self._conversations()
        desk = self._desk(conversations)
        book = RunBook(self.ledger, self.clock, self.metrics, self.document.revision)
        documents = AnswerDocuments(self.document, desk, self.prices, self.spend, self.live.current)
        return ProcessContext(
            document=self.document,
            settings=self.settings,
            credentials=self.credentials,
            clock=self.clock,
            ledger=self.ledger,
            metrics=self.metrics,
            tracing=self.tracing,
            http=self.http,
            live=self.live,
            access=AccessControl(self.live, self.settings.api_keys_directory),
            breakers=self.breakers,
            toolbox=self.toolbox,
            desk=desk,
            book=book,
            ids=self.ids,
            documents=documents,
            redact=self._redacted,
            shared=self._shared(TaskRuns(desk, book, documents, self.ids), conversations),
            drain=self.drain,
        )

    def _redacted(self, text: str) -> str:
        return self.output_guard.redactor.redact(text)[0]

    def _conversations(self) -> ConversationStore | None:
        if self.store is None:
            return None
        return ConversationStore(self.store, HistoryLimits(self.document.conversations.ttl_seconds))

    def _desk(self, conversations: ConversationStore | None) -> RunDesk:
        document, store = self.document, self.store
        model = build_chain(
            ChainParts(
                document=document,
                credentials=self.credentials,
                http=self.http,
                prices=self.prices,
                live=self.live.current,
                ledger=self.spend,
                breakers=self.breakers,
                metrics=self.metrics,
                tracing=self.tracing,
            )
        )
        cache = None
        if store is not None and document.cache is not None:
            cache = AnswerCache(store, document.cache.ttl_seconds)
        return RunDesk(
            RunParts(
                document=document,
                live=self.live,
                agent=Agent(model, self.toolbox, self.tracing, self._redact_arguments, self.metrics.answered),
                model=model,
                input_guard=InputGuard(document.guards),
                output_guard=self.output_guard,
                admission=None if store is None else Admission(store),
                cache=cache,
                conversations=conversations,
                metrics=self.metrics,
                tracing=self.tracing,
            )
        )

    def _redact_arguments(self, arguments: str) -> str:
        """Arguments of a tool without secrets: by the fields of the JSON, or as text where they are none."""
        try:
            value = orjson.loads(arguments)
        except orjson.JSONDecodeError:
            return self._redacted(arguments)
        redacted = self.output_guard.redactor.redact_json(value)
        return arguments if redacted == value else orjson.dumps(redacted).decode()

    def _shared(self, runs: TaskRuns, conversations: ConversationStore | None) -> Shared | None:
        store = self.store
        if store is None or self.spend is None or conversations is None:
            return None
        tasks = TaskStore(store)
        worker = TaskWorker(
            tasks,
            runs,
            pod=self.settings.pod_name,
            revision=self.document.revision,
            idempotent=self._idempotent,
            concurrency=self.settings.task_concurrency,
            may_adopt=lambda: self.live.current().canary_revision != self.document.revision,
            draining=lambda: self.drain.begun,
        )
        keys = ConversationKeys(store, self.ids)
        return Shared(store, self.spend, tasks, EventFeed(store, tasks), worker, conversations, keys)

    def _idempotent(self, call: ToolCall) -> bool:
        tool = self.toolbox.resolve(call.name)
        return tool is not None and tool.idempotent
