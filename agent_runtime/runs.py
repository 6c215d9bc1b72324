"""One run from the guard of the question to the guard of the answer: what all ways of asking have in common."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import structlog

from agent_api.live_document import RateLimitsDocument
from agent_api.observations import Outcome, conversation_hash
from agent_runtime.agent import Answer, ApprovalNeeded, Order, without_repairs
from agent_runtime.cache.answers import CachedAnswer, cacheable
from agent_runtime.core.asked import beside_the_question
from agent_runtime.core.cache_keys import cache_key, tenant_of
from agent_runtime.core.events import RunStarted, TextDelta
from agent_runtime.core.history import estimate_tokens, plan_summary, summary_message, summary_request, trim_history
from agent_runtime.core.loop import Message, iteration_limit, opening_messages
from agent_runtime.core.progress import NoJournal, Progress
from agent_runtime.failures import failure_of, failure_of_guard, failure_of_limit, failure_of_store
from agent_runtime.guarded_emit import GuardedEmit
from agent_runtime.guards.blocked import GuardBlocked
from agent_runtime.limits.admission import Limited
from agent_runtime.llm.client import BudgetExceeded, ModelError, ModelRequest, Run
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.telemetry.logs import bind_to_run, user_hash

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from agent_api.runtime_document import RuntimeDocument
    from agent_runtime.agent import Agent
    from agent_runtime.cache.answers import AnswerCache, Hit
    from agent_runtime.conversations.history import ConversationStore
    from agent_runtime.core.conversations import Turn
    from agent_runtime.core.events import EventSink
    from agent_runtime.core.history import PastTurn
    from agent_runtime.core.loop import ToolSpec
    from agent_runtime.core.progress import Journal
    from agent_runtime.failures import Failure
    from agent_runtime.guards.input import InputGuard
    from agent_runtime.guards.output import OutputGuard
    from agent_runtime.limits.admission import Admission
    from agent_runtime.live import Live
    from agent_runtime.llm.client import ModelClient
    from agent_runtime.outputs import OutputFormat
    from agent_runtime.record import RunRecord
    from agent_runtime.telemetry.metrics import RuntimeMetrics
    from agent_runtime.telemetry.tracing import Tracing

SLOT_MARGIN_SECONDS = 10.0
RUN_ID_BYTES = 12
FLIGHT_SECONDS = 30.0
"""How long an identical question waits for the one before it."""

_log = structlog.get_logger("agent_runtime.run")


class RunFailed(Exception):
    """The run has no answer; `failure` is what the caller is told and what it counts as."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.problem.detail)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. The last of `messages` is new; the earlier ones are the caller's own account of a conversation.

    With `remembered` the store's account of the conversation goes before them, and the turn is added to it.
    """

    messages: tuple[Message, ...]
    max_iterations: int
    remembered: bool = True
    stream: bool = False
    response_format: Mapping[str, Any] | None = None
    output: OutputFormat | None = None
    client_tools: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, in which conversation; `continues` is the id of the conversation whose history belongs to it.

    `request_id` may be the caller's choice, and that of many requests; `run_id` is ours, and of this run alone.
    """

    request_id: str
    user: str
    turn: Turn
    continues: str | None = None
    run_id: str = field(default_factory=lambda: secrets.token_urlsafe(RUN_ID_BYTES))
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a task goes on, and what was decided or lost since."""

    progress: Progress
    approved: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RunParts:
    """What a run is made of; without a store there is no admission, cache or history."""

    document: RuntimeDocument
    live: Live
    agent: Agent
    model: ModelClient
    input_guard: InputGuard
    output_guard: OutputGuard
    admission: Admission | None
    cache: AnswerCache | None
    conversations: ConversationStore | None
    metrics: RuntimeMetrics
    tracing: Tracing


@dataclass(frozen=True, slots=True)
class _Work:
    """One run in the desk's hands."""

    question: Question
    asker: Asker
    record: RunRecord
    run: Run
    emit: EventSink
    journal: Journal
    resumption: Resumption | None


class RunDesk:
    """Answers questions."""

    def __init__(self, parts: RunParts) -> None:
        self._parts = parts

    async def answer(
        self,
        question: Question,
        asker: Asker,
        record: RunRecord,
        emit: EventSink,
        journal: Journal | None = None,
        resumption: Resumption | None = None,
    ) -> Answer:
        """Answer a question; `record` gathers the facts, `emit` is told what happens.

        Raises
        ------
        RunFailed
            If there is no answer.
        ApprovalNeeded
            If calls of tools wait for a person.
        """
        document = self._parts.document
        run = Run(
            request_id=asker.request_id,
            deadline=record.begun + document.timeout_seconds,
            user=asker.user,
            id=asker.run_id,
            max_attempts=document.retry.max_attempts_per_run,
        )
        record.run = run
        work = _Work(question, asker, record, run, emit, journal or NoJournal(), resumption)
        conversation = conversation_hash(str(asker.turn.conversation))
        with self._parts.tracing.run(
            request_id=asker.request_id, conversation=conversation, parent=asker.headers
        ) as span:
            run.trace_headers = self._parts.tracing.inject()
            record.user, record.trace_id = user_hash(document.namespace, asker.user), span.trace_id
            bind_to_run(trace_id=span.trace_id, user=record.user)
            try:
                answer = await self._admitted(work)
            except RunFailed as failed:
                span.ended(failed.failure.outcome, problem=failed.failure.problem.type)
                raise
            except ApprovalNeeded as needed:
                # No failure: the run goes on when a person has decided.
                span.ended(Outcome.EXCLUDED)
                waiting = needed
            else:
                span.ended(Outcome.OK, tokens=run.input_tokens + run.output_tokens, cost_micro=run.spent_micro)
                return answer
        raise waiting

    async def _admitted(self, work: _Work) -> Answer:
        try:
            if work.resumption is None:
                self.check(work.question)
            async with self._slot(work):
                return await self._remembered(work)
        except GuardBlocked as blocked:
            raise RunFailed(failure_of_guard(blocked)) from None
        except Limited as limited:
            self._parts.metrics.rate_limited(limited.scope)
            raise RunFailed(failure_of_limit(limited)) from None
        except Exception as error:
            question = work.question
            form = bool(question.client_tools) or question.response_format is not None
            failure = failure_of(error, callers_form=form)
            if failure is None:
                raise
            if isinstance(error, BudgetExceeded):
                self._parts.metrics.budget_refused(error.scope)
            raise RunFailed(failure) from None

    def check(self, question: Question) -> None:
        """Put everything of the caller that a model is told through the guard; raises GuardBlocked."""
        guard = self._parts.input_guard
        try:
            for message in question.messages:
                guard.check(message.content)
            beside = beside_the_question(question.messages, question.client_tools, question.response_format)
            guard.check(beside, bounded=False)
        except GuardBlocked as blocked:
            self._parts.metrics.guard_blocked("input", blocked.rule)
            raise

    @contextlib.asynccontextmanager
    async def _slot(self, work: _Work) -> AsyncIterator[None]:
        """Hold one of the agent's slots; a task was counted when it was made, and one that goes on has its turn."""
        admission, limits = self._parts.admission, self._parts.live.current().rate_limits
        if not isinstance(work.journal, NoJournal):
            limits = RateLimitsDocument(max_concurrent=limits.max_concurrent)
        unlimited = limits.requests_per_minute is limits.per_user_per_minute is limits.max_concurrent is None
        if admission is None or unlimited or work.resumption is not None:
            yield
            return
        lease = self._parts.document.timeout_seconds + SLOT_MARGIN_SECONDS
        ticket = await admission.admit(work.asker.run_id, work.asker.user, limits, lease)
        try:
            yield
        finally:
            await admission.release(ticket)

    async def count_task(self, user: str) -> None:
        """Count a task that is to be made as one run of this minute; raises Problem if it is one too many."""
        admission, limits = self._parts.admission, self._parts.live.current().rate_limits
        if admission is None:
            return
        a_minute = limits.model_copy(update={"max_concurrent": None})
        try:
            await admission.admit(secrets.token_urlsafe(RUN_ID_BYTES), user, a_minute, SLOT_MARGIN_SECONDS)
        except Limited as limited:
            self._parts.metrics.rate_limited(limited.scope)
            raise failure_of_limit(limited).problem from None

    async def _remembered(self, work: _Work) -> Answer:
        """Answer from memory if the same was asked before, else run and remember."""
        await work.emit(
            RunStarted(work.asker.request_id, str(work.asker.turn.conversation), self._parts.document.revision)
        )
        if work.resumption is not None:
            return await self._run(work, work.resumption.progress, start=None)
        history = await self._history(work)
        spoken = (*history, *work.question.messages)
        progress = Progress(opening_messages(self._parts.document.instructions, spoken))
        start = len(progress.messages) - 1
        key = self._key(work, history)
        cache = self._parts.cache
        if cache is None or key is None:
            return await self._run(work, progress, start)
        async with cache.claim(key, wait_seconds=min(FLIGHT_SECONDS, self._parts.document.timeout_seconds)) as claim:
            if claim.hit is not None:
                return await self._from_memory(work, claim.hit, progress.messages[start:])
            self._parts.metrics.cache_looked_up("miss")
            answer = await self._run(work, progress, start)
            if cacheable(answer.finish_reason, len(answer.uses)):
                await claim.put(CachedAnswer(answer.text, answer.model, answer.iterations))
            else:
                claim.forgo()
            return answer

    def _key(self, work: _Work, history: tuple[Message, ...]) -> str | None:
        question, document = work.question, self._parts.document
        if document.cache is None or question.client_tools:
            return None
        return cache_key(
            tenant_of(document, work.asker.user),
            document.instructions,
            # The last message is among them: it may be a tool's, and then it matters whose call it answers.
            (*history, *question.messages),
            question.messages[-1].content,
            question.response_format,
            {"max_iterations": question.max_iterations},
        )

    async def _from_memory(self, work: _Work, hit: Hit, asked: tuple[Message, ...]) -> Answer:
        kept = hit.answer
        self._parts.metrics.cache_looked_up("hit")
        messages = (*asked, Message("assistant", kept.text))
        answer = Answer(kept.text, kept.model, "stop", messages, (), kept.iterations)
        await self._remember(work, messages)
        # Noted before the first text, with which the headers of a stream are sent.
        work.record.answered(answer, age_seconds=hit.age_seconds)
        if work.question.stream:
            await work.emit(TextDelta(kept.text))
        return answer

    async def _history(self, work: _Work) -> tuple[Message, ...]:
        """What is remembered of the conversation, no longer than the agent's limit.

        Raises
        ------
        RunFailed
            If it cannot be read: an answer without it would be a wrong one.
        """
        store, asker = self._parts.conversations, work.asker
        if store is None or asker.continues is None or not work.question.remembered:
            return ()
        try:
            await self._carry_over(store, asker)
            turns = await store.turns(str(asker.turn.conversation), asker.user)
            limit = self._parts.document.conversations.max_tokens
            if self._parts.document.conversations.summarise:
                turns = await self._summarised(work, turns)
        except StoreUnavailable:
            raise RunFailed(failure_of_store("The conversation")) from None
        return tuple(message for turn in trim_history(turns, limit) for message in turn.messages)

    async def _summarised(self, work: _Work, turns: tuple[PastTurn, ...]) -> tuple[PastTurn, ...]:
        """Turns with the older ones summed up, if they outgrew the limit; as they are if no model answers."""
        store, asker = self._parts.conversations, work.asker
        plan = plan_summary(turns, self._parts.document.conversations.max_tokens)
        if plan is None or store is None or asker.continues is None:
            return turns
        try:
            answer = await self._parts.model.complete(ModelRequest(summary_request(plan), work.run))
        except ModelError as error:
            _log.warning("the conversation was not summed up", cause=type(error).__name__)
            return turns
        summary = summary_message(answer.text)
        await store.summarised(str(asker.turn.conversation), asker.user, plan.through, summary)
        return (replace(plan.older[-1], messages=(summary,)), *plan.recent)

    async def _run(self, work: _Work, progress: Progress, start: int | None) -> Answer:
        """Run the loop; messages from `start` on are this turn's, None for a task that goes on."""
        question, resumption = work.question, work.resumption
        emit = GuardedEmit(work.emit, work.record, self._parts.output_guard, self._parts.metrics)
        order = Order(
            run=work.run,
            max_iterations=iteration_limit(question.max_iterations, self._parts.document.max_iterations),
            stream=question.stream,
            output=question.output,
            client_tools=question.client_tools,
            approved=frozenset() if resumption is None else resumption.approved,
            rejected=frozenset() if resumption is None else resumption.rejected,
            unknown=frozenset() if resumption is None else resumption.unknown,
        )
        try:
            answer = await self._parts.agent.run(order, progress, work.journal, emit)
            for call in answer.client_calls:
                self._parts.output_guard.check_arguments(call.arguments)
            text = await emit.finish() if question.stream else emit.whole(answer.text)
        except GuardBlocked as blocked:
            self._parts.metrics.guard_blocked("output", blocked.rule)
            raise
        messages = (*answer.messages[:-1], replace(answer.messages[-1], content=text))
        answer = replace(answer, text=text, messages=messages)
        await self._remember(work, messages if start is None else messages[start:])
        work.record.answered(answer)
        return answer

    async def _remember(self, work: _Work, messages: tuple[Message, ...]) -> None:
        """Keep the turn; a store that is away costs the next turn its memory, not this one its answer."""
        store = self._parts.conversations
        if store is None or not work.question.remembered:
            return
        spoken = _last_turn(messages)
        try:
            await self._carry_over(store, work.asker)
            await store.append(str(work.asker.turn.conversation), work.asker.user, spoken)
        except StoreUnavailable:
            _log.warning("the turn was not remembered")

    async def _carry_over(self, store: ConversationStore, asker: Asker) -> None:
        """Bring what was said along with a conversation that gets a new id, as when it moves to this revision."""
        conversation = str(asker.turn.conversation)
        if asker.continues is not None and asker.continues != conversation:
            await store.continued(asker.continues, conversation, asker.user)

    def history_tokens(self, answer: Answer) -> int:
        """Estimate of what the conversation has grown to."""
        return sum(estimate_tokens(message) for message in answer.messages if message.role != "system")


def _last_turn(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Messages from the last question of the user on; attempts at a format that were repaired are no part of them."""
    kept = without_repairs(messages)
    questions = [place for place, message in enumerate(kept) if message.role == "user"]
    return kept[questions[-1] :] if questions else kept
