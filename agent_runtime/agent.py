"""The agent: the loop from the question to the answer, in steps that another pod can take up.

RunStopped
├── IterationsExhausted   the model still asks for tools after the last iteration
├── LoopDetected          the same call fails in the same way again and again, or arguments stay invalid
├── OutputInvalid         the answer is not of the format that was asked for
└── ApprovalNeeded        a call waits for a person
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from agent_api.quantities import dollars
from agent_runtime.core.events import ApprovalRequired, TextDelta, ToolCalled, ToolEnded, UsageReported
from agent_runtime.core.loop import MAX_IDENTICAL_FAILURES, MAX_INVALID_ARGUMENTS, Message
from agent_runtime.llm.client import DeadlineExceeded, ModelRequest
from agent_runtime.tools.toolbox import UNKNOWN, ToolOutcome, ToolScope

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent_runtime.core.events import EventSink
    from agent_runtime.core.loop import ToolCall, ToolSpec
    from agent_runtime.core.progress import Journal, Progress
    from agent_runtime.llm.client import ModelAnswer, ModelClient, Run
    from agent_runtime.outputs import OutputFormat
    from agent_runtime.telemetry.tracing import Tracing
    from agent_runtime.tools.toolbox import Toolbox, ToolResult

_T = TypeVar("_T")
MAX_FORMAT_REPAIRS = 2
REPAIR = "Your answer is not of the requested format"
LOST_NOTICE = "The outcome of this call is unknown: the process that made it ended. It may or may not have had effect."
REJECTED_NOTICE = "A person refused this call. Do not try it again."


class RunStopped(Exception):
    """The loop ended without an answer."""


class IterationsExhausted(RunStopped):
    """The model still asks for tools after the last iteration."""


class LoopDetected(RunStopped):
    """The model repeats what does not work."""


class OutputInvalid(RunStopped):
    """The answer is not of the format that was asked for."""


class ApprovalNeeded(RunStopped):
    """Calls wait for a person; `progress` is where to go on."""

    def __init__(self, progress: Progress, calls: tuple[ToolCall, ...]) -> None:
        super().__init__("calls wait for approval")
        self.progress = progress
        self.calls = calls


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a tool, as the answer tells of it."""

    name: str
    outcome: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Order:
    """One run: who pays and until when (`run`), what may be used, and what is known of calls begun before.

    People decided on the calls in `approved` and `rejected`; the outcome of those in `unknown` was lost with their pod.
    """

    run: Run
    max_iterations: int
    stream: bool = False
    output: OutputFormat | None = None
    client_tools: tuple[ToolSpec, ...] = ()
    approved: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answer:
    """How a run ended well; `client_calls` are calls of tools that the caller runs."""

    text: str
    model: str
    finish_reason: str
    messages: tuple[Message, ...]
    uses: tuple[ToolUse, ...]
    iterations: int
    client_calls: tuple[ToolCall, ...] = ()


@dataclass(slots=True)
class _State:
    """What one execution of the loop remembers."""

    progress: Progress
    scope: ToolScope
    uses: list[ToolUse] = field(default_factory=list)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    invalid: int = 0
    repairs: int = 0


class Agent:
    """Runs one revision."""

    def __init__(
        self,
        model: ModelClient,
        toolbox: Toolbox,
        tracing: Tracing,
        redact_arguments: Callable[[str], str],
        answered: Callable[[ModelAnswer], None] = lambda _answer: None,
    ) -> None:
        self._model = model
        self._answered = answered
        self._toolbox = toolbox
        self._tracing = tracing
        self._redact_arguments = redact_arguments

    async def run(self, order: Order, progress: Progress, journal: Journal, emit: EventSink) -> Answer:
        """Go on from `progress` to the answer.

        Raises
        ------
        ModelError, RunStopped
            If there is no answer.
        """
        state = _State(progress, self._scope(order, progress, journal))
        try:
            async with asyncio.timeout_at(order.run.deadline):
                return await self._loop(order, state, journal, emit)
        except TimeoutError:
            raise DeadlineExceeded("the run's time (spec.agent.timeout) is over") from None

    def _scope(self, order: Order, progress: Progress, journal: Journal) -> ToolScope:
        run = order.run
        return ToolScope(
            request_id=run.request_id,
            user=run.user,
            deadline=run.deadline,
            approved=order.approved,
            starting=journal.tool_started,
            trace=self._tracing.inject,
            calls=progress.tool_calls,
            calls_by_rule=dict(progress.calls_by_rule),
        )

    async def _loop(self, order: Order, state: _State, journal: Journal, emit: EventSink) -> Answer:
        if state.progress.messages[-1].tool_calls:
            # Taken up in the middle of an iteration.
            await self._within(state.progress.iterations, self._run_tools(order, state, journal, emit))
        while True:
            iteration = state.progress.iterations + 1
            if iteration > order.max_iterations:
                raise IterationsExhausted(
                    f"the model asked for tools in each of the {order.max_iterations} calls that max_iterations allows"
                )
            ended = await self._within(iteration, self._iterate(order, state, journal, emit))
            if ended is not None:
                return ended

    async def _within(self, iteration: int, work: Coroutine[Any, Any, _T]) -> _T:
        """Do a part of the loop under the span of its iteration; that a person has to decide is no failure of it."""
        with self._tracing.iteration(iteration):
            try:
                return await work
            except ApprovalNeeded as needed:
                waiting = needed
        raise waiting

    async def _iterate(self, order: Order, state: _State, journal: Journal, emit: EventSink) -> Answer | None:
        """Ask the model, and run the tools that it asks for; answers None if the loop goes on."""
        iteration = state.progress.iterations + 1
        answer = await self._ask(order, state, emit)
        message = Message("assistant", answer.text, self._own_calls(answer.tool_calls, iteration))
        state.progress = replace(
            state.progress,
            messages=(*state.progress.messages, message),
            iterations=iteration,
            started=frozenset(),
            results={},
        )
        ended = await self._ended(order, state, answer, message)
        if ended is not None:
            return ended
        await journal.answered(state.progress)
        if state.progress.messages[-1].tool_calls:
            await self._run_tools(order, state, journal, emit)
        return None

    async def _ask(self, order: Order, state: _State, emit: EventSink) -> ModelAnswer:
        async def pass_on(text: str) -> None:
            await emit(TextDelta(text))

        request = ModelRequest(
            messages=state.progress.messages,
            run=order.run,
            tools=(*self._toolbox.specs(), *order.client_tools),
            response_format=order.output.wire if order.output is not None else None,
            emit=pass_on if order.stream else None,
        )
        answer = await self._model.complete(request)
        self._answered(answer)
        usage = answer.usage
        order.run.answered_micro += answer.cost_micro or 0
        if usage is not None:
            order.run.input_tokens += usage.input_tokens
            order.run.output_tokens += usage.output_tokens
        await emit(
            UsageReported(
                model=answer.model,
                input_tokens=None if usage is None else usage.input_tokens,
                output_tokens=None if usage is None else usage.output_tokens,
                cost_usd=None if answer.cost_micro is None else dollars(answer.cost_micro),
            )
        )
        return answer

    async def _ended(self, order: Order, state: _State, answer: ModelAnswer, message: Message) -> Answer | None:
        """The run's answer, if the model's is one; None if the loop goes on."""
        own = {tool.wire_name for tool in order.client_tools}
        client_calls = tuple(call for call in message.tool_calls if call.name in own)
        if message.tool_calls and not client_calls:
            return None
        if order.output is not None and not client_calls:
            wrong = order.output.wrong(answer.text)
            if wrong:
                self._ask_for_repair(order, state, wrong)
                return None
        return Answer(
            text=answer.text,
            model=answer.model,
            finish_reason="tool_calls" if client_calls else answer.finish_reason,
            messages=state.progress.messages,
            uses=tuple(state.uses),
            iterations=state.progress.iterations,
            client_calls=client_calls,
        )

    def _ask_for_repair(self, order: Order, state: _State, wrong: str) -> None:
        state.repairs += 1
        if state.repairs > MAX_FORMAT_REPAIRS or order.stream:
            # What is wrong quotes the answer, which no guard has seen: only the model is told.
            raise OutputInvalid("the model's answer is not of the requested format")
        demand = Message("user", f"{REPAIR}: {wrong}. Answer again, with JSON only.")
        state.progress = replace(state.progress, messages=(*state.progress.messages, demand))

    def _own_calls(self, calls: tuple[ToolCall, ...], iteration: int) -> tuple[ToolCall, ...]:
        """Calls with ids that are unique in the run: a provider may use one twice, and an approval must not fit both.

        Nine letters and digits, which every provider accepts; Mistral no others.
        """
        return tuple(
            replace(call, id=f"c{iteration:03}{place:05}", arguments=self._redact_arguments(call.arguments))
            for place, call in enumerate(calls)
        )

    async def _run_tools(self, order: Order, state: _State, journal: Journal, emit: EventSink) -> None:
        """Run what the last message asks for, in parallel, and add the results in its order.

        Raises
        ------
        ApprovalNeeded
            If some calls wait for a person; those that need nobody have run by then.
        """
        results = dict(state.progress.results)
        pending = state.progress.pending
        ended = await _all(*(self._one_call(call, order, state, journal, emit) for call in pending))
        waiting = []
        for call, content in zip(pending, ended, strict=True):
            if content is None:
                waiting.append(call)
            else:
                results[call.id] = content
        state.progress = replace(
            state.progress,
            results=results,
            # Those are counted here: whoever goes on does not count them again.
            started=frozenset(results),
            tool_calls=state.scope.calls,
            calls_by_rule=dict(state.scope.calls_by_rule),
        )
        if waiting:
            raise ApprovalNeeded(state.progress, tuple(waiting))
        calls = state.progress.messages[-1].tool_calls
        answers = tuple(Message("tool", results[call.id], tool_call_id=call.id) for call in calls)
        state.progress = replace(
            state.progress, messages=(*state.progress.messages, *answers), results={}, started=frozenset()
        )

    async def _one_call(
        self, call: ToolCall, order: Order, state: _State, journal: Journal, emit: EventSink
    ) -> str | None:
        """Content for the model; None if the call waits for a person."""
        name = self._name(call)
        for decided, outcome, notice in (
            (order.rejected, ToolOutcome.REJECTED, REJECTED_NOTICE),
            (order.unknown, ToolOutcome.LOST, LOST_NOTICE),
        ):
            if call.id in decided:
                await journal.tool_ended(call, notice)
                await self._tell(emit, state, ToolEnded(call.id, name, outcome, 0))
                return notice
        await emit(ToolCalled(call.id, name, _shown(call.arguments)))
        with self._tracing.tool_call(name=name, call_id=call.id) as span:
            span.asked(call.arguments)
            result = await self._toolbox.call(call, state.scope)
            span.ended(result.outcome, result.content)
        if result.outcome is ToolOutcome.APPROVAL_REQUIRED:
            await emit(ApprovalRequired(call.id, name, _shown(call.arguments)))
            return None
        await journal.tool_ended(call, result.content)
        await self._tell(emit, state, ToolEnded(call.id, name, result.outcome, round(result.seconds * 1000)))
        self._watch(state, call, result)
        return result.content

    async def _tell(self, emit: EventSink, state: _State, event: ToolEnded) -> None:
        state.uses.append(ToolUse(event.name, event.outcome, event.milliseconds))
        await emit(event)

    def _watch(self, state: _State, call: ToolCall, result: ToolResult) -> None:
        """Stop a model that repeats what does not work.

        Raises
        ------
        LoopDetected
            If it did so once too often.
        """
        if result.outcome is ToolOutcome.INVALID_ARGUMENTS:
            state.invalid += 1
            if state.invalid > MAX_INVALID_ARGUMENTS:
                raise LoopDetected(f"the model called {result.name} with invalid arguments {state.invalid} times")
        else:
            state.invalid = 0
        if result.outcome is not ToolOutcome.OK:
            state.failures[call.name, call.arguments] += 1
            if state.failures[call.name, call.arguments] >= MAX_IDENTICAL_FAILURES:
                raise LoopDetected(f"the same call of {result.name} failed {MAX_IDENTICAL_FAILURES} times")

    def _name(self, call: ToolCall) -> str:
        tool = self._toolbox.resolve(call.name)
        # What is no tool's name is the model's text.
        return UNKNOWN if tool is None else tool.name


def without_repairs(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """What was said, without the answers that were of a wrong format and the demands for others."""
    kept: list[Message] = []
    for message in messages:
        if message.role == "user" and message.content.startswith(REPAIR) and kept and kept[-1].role == "assistant":
            kept.pop()
        else:
            kept.append(message)
    return tuple(kept)


async def _all(*calls: Coroutine[Any, Any, str | None]) -> list[str | None]:
    """Results in order; the first failure cancels the others and is raised by itself."""
    if len(calls) == 1:
        return [await calls[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return [task.result() for task in tasks]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _shown(arguments: str) -> object:
    """Arguments as JSON where they are, for people who watch."""
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments[:1000]
