"""Tasks in the store: made, claimed, moved on and ended, each by one atomic script."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from agent_runtime.core.events import ApprovalRequired, Completed, Failed
from agent_runtime.core.task_state import TaskState, progress_document
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.tasks import scripts
from agent_runtime.tasks.reading import VIEW_FIELDS, claim_of, text, view_of
from agent_runtime.tasks.records import (
    AlreadyDecided,
    CallNotFound,
    Claim,
    Created,
    Decision,
    IdempotencyConflict,
    QueueFull,
    TaskClosed,
    TaskCounts,
    TaskLimits,
    TaskNotFound,
    TaskOrder,
    TaskView,
)
from agent_runtime.tasks.runner import Finished, waiting_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runtime.core.events import Event
    from agent_runtime.core.loop import ToolCall
    from agent_runtime.core.progress import Progress
    from agent_runtime.store.connection import Store
    from agent_runtime.tasks.runner import Broken

MAX_PROGRESS_BYTES = 8 * 1024 * 1024
_ID_BYTES = 18
_CANCELLED = json.dumps({"type": "cancelled"})
_NO_ADOPTION = -1
_UNBOUNDED = -1
_MAX_SEEN = 2000
"""How many tasks of one user a list looks at: more than can wait and run, should their number not be bounded."""

_Argument = str | bytes | int | float


class ProgressTooLarge(Exception):
    """A task said and read more than the store keeps of one."""


class TaskStore:
    """Tasks of one agent. Every method raises StoreUnavailable when the store is away."""

    def __init__(self, store: Store, limits: TaskLimits | None = None) -> None:
        self.limits = limits or TaskLimits()
        self._store = store
        self._base = store.key("task")
        self._sets = [store.key("tasks", name) for name in ("ready", "leases", "open", "workers")]
        script = store.script
        self._create, self._view, self._open = (
            script(source) for source in (scripts.CREATE, scripts.VIEW, scripts.OPEN)
        )
        self._cancel, self._decide = script(scripts.CANCEL), script(scripts.DECIDE)
        self._pulse, self._sweep = script(scripts.PULSE), script(scripts.SWEEP)
        self._claim, self._leave = script(scripts.CLAIM), script(scripts.LEAVE)
        self._answered, self._mark, self._emit = (
            script(source) for source in (scripts.ANSWERED, scripts.MARK, scripts.EMIT)
        )
        self._finish, self._suspend, self._release = (
            script(source) for source in (scripts.FINISH, scripts.SUSPEND, scripts.RELEASE)
        )

    async def create(self, order: TaskOrder) -> Created:
        """Make a task, unless an order with the same key made it before.

        Raises
        ------
        QueueFull, IdempotencyConflict
            If it is not made.
        """
        task_id = secrets.token_urlsafe(_ID_BYTES)
        keys = self._sets[:3]
        if order.key is not None:
            keys = [*keys, self._store.key("tasks", "key", _digest(order.user, order.key))]
        waiting, events = (
            ("", []) if order.waiting is None else (_calls(order.waiting.calls), _asked(order.waiting.calls))
        )
        queued = json.dumps({"type": "task.queued", "task_id": task_id, "revision": order.revision})
        answer = await self._create(
            keys,
            [
                self._base,
                task_id,
                order.user,
                _digest(json.dumps([order.request, order.continues], sort_keys=True)),
                order.max_queue,
                order.max_of_user if order.has_named_user else _UNBOUNDED,
                _milliseconds(order.max_age),
                _milliseconds(self.limits.retention),
                self.limits.max_events,
                queued,
                waiting,
                len(events),
                *events,
                *_fields(order),
            ],
        )
        outcome, known, state = map(text, answer)
        if outcome == "full":
            raise QueueFull(f"{order.max_queue} tasks wait already")
        if outcome == "share":
            raise QueueFull(f"{order.max_of_user} tasks of this user have not ended")
        if outcome == "conflict":
            raise IdempotencyConflict(known)
        return Created(known, TaskState(state), fresh=outcome == "created")

    async def view(self, task_id: str, user: str | None) -> TaskView:
        """The task as its user sees it; `user` is None where access is off.

        Raises
        ------
        TaskNotFound
            If there is none, or it is another user's.
        """
        values, decisions, audit = await self._view(self._sets[:3], [self._base, task_id, *VIEW_FIELDS])
        view = view_of(task_id, values, [*audit, *decisions], user)
        if view is None:
            raise TaskNotFound(task_id)
        return view

    async def unended(self, user: str, state: TaskState | None, most: int) -> list[TaskView]:
        """Tasks of a user that have not ended, in this state if one is given; the newest first.

        Decisions about calls of earlier steps are left out.
        """
        wanted = "" if state is None else state.value
        arguments: list[_Argument] = [self._base, user, wanted, most, _MAX_SEEN, *VIEW_FIELDS]
        found = await self._open(self._sets[:3], arguments)
        views = (view_of(text(task_id), values, decisions, user) for task_id, values, decisions in found)
        return [view for view in views if view is not None]

    async def cancel(self, task_id: str, user: str | None) -> TaskState:
        """End a task, at once or, if it runs, as soon as its pod sees it; a task that was cancelled stays so.

        Raises
        ------
        TaskNotFound, TaskClosed
            If there is none, or it ended otherwise.
        """
        retention = _milliseconds(self.limits.retention)
        answer = await self._cancel(
            self._sets[:3], [self._base, task_id, _owner(user), _CANCELLED, retention, self.limits.max_events]
        )
        if answer is None:
            raise TaskNotFound(task_id)
        state = TaskState(text(answer))
        if state in (TaskState.SUCCEEDED, TaskState.FAILED):
            raise TaskClosed(state)
        return state

    async def decide(self, task_id: str, user: str | None, call_id: str, decision: Decision) -> TaskState:
        """Say whether a call may run; with the last decision the task goes on. To say the same twice does nothing.

        Raises
        ------
        TaskNotFound, CallNotFound, AlreadyDecided, TaskClosed
            If it cannot be decided.
        """
        event = json.dumps({"type": "approval.decided", "id": call_id, "approved": decision.approved})
        approved = "1" if decision.approved else "0"
        answer = await self._decide(
            self._sets[:3],
            [
                *(self._base, task_id, _owner(user), call_id, approved),
                *(decision.who, decision.reason, event, self.limits.max_events),
            ],
        )
        outcome, state = map(text, answer)
        refusals = {
            "unknown": TaskNotFound(task_id),
            "no-call": CallNotFound(call_id),
            "decided": AlreadyDecided(call_id),
        }
        if outcome in refusals:
            raise refusals[outcome]
        if outcome == "closed":
            raise TaskClosed(TaskState(state))
        return TaskState(state)

    async def counts(self) -> TaskCounts:
        """How many tasks have not ended."""
        pipeline = self._store.client.pipeline(transaction=True)
        for key in self._sets[:3]:
            pipeline.zcard(key)
        queued, running, unended = await pipeline.execute()
        return TaskCounts(queued, running, max(0, unended - queued - running))

    async def pulse(self, worker: str, held: Sequence[Claim]) -> list[str]:
        """Keep the leases of a worker alive; says of each task whether it is `ok`, to `cancel`, or `lost`."""
        pairs = [part for claim in held for part in (claim.task.id, claim.fence)]
        answers = await self._pulse(self._sets, [self._base, worker, _milliseconds(self.limits.lease), *pairs])
        return [text(answer) for answer in answers]

    async def sweep(self) -> int:
        """End tasks that are too old and queue those whose pod is lost; any worker does it for all. Says how many."""
        problems = [part for problem in _swept() for part in (json.dumps(problem), _ended(Failed(problem)))]
        limits = self.limits
        arguments: list[_Argument] = [self._base, _milliseconds(limits.retention), limits.max_events, limits.max_lost]
        return int(await self._sweep(self._sets, [*arguments, *problems, _CANCELLED]))

    async def claim(self, revision: str, pod: str, *, may_adopt: bool) -> Claim | None:
        """The oldest task that this worker may run: its revision's, or one of a revision that has no worker."""
        adoption = _milliseconds(self.limits.adoption) if may_adopt else _NO_ADOPTION
        lease = _milliseconds(self.limits.lease)
        arguments: list[_Argument] = [self._base, revision, pod, lease, adoption, self.limits.max_events]
        answer = await self._claim(self._sets, arguments)
        return None if answer is None else claim_of(*answer)

    async def leave(self, worker: str) -> None:
        """Say that a worker is gone, so that nobody waits for it."""
        await self._leave(self._sets, [self._base, worker])

    async def answered(self, claim: Claim, progress: Progress) -> bool:
        """Keep what the model asked for; False if the task is in other hands.

        Raises
        ------
        ProgressTooLarge
            If it is more than a task may keep.
        """
        document = _encoded(progress)
        return bool(await self._answered(self._sets[:3], [*self._held(claim), document, progress.iterations]))

    async def tool_started(self, claim: Claim, call_id: str, rule: int) -> bool:
        """Note that a call began, by which rule of the policy; False if the task is in other hands."""
        return bool(await self._mark(self._sets[:3], [*self._held(claim), f"s:{call_id}", rule]))

    async def tool_ended(self, claim: Claim, call_id: str, content: str) -> bool:
        """Note the result of a call; False if the task is in other hands."""
        value = content.encode(errors="replace")
        return bool(await self._mark(self._sets[:3], [*self._held(claim), f"r:{call_id}", value]))

    async def emit(self, claim: Claim, batch: int, events: Sequence[tuple[str, dict[str, Any]]]) -> bool:
        """Add events, each with a mark of what is shown once a step or ''; False if the task is in other hands.

        A batch with the number of the last one is that one, sent again.
        """
        parts = [part for mark, document in events for part in (mark, json.dumps(document))]
        return bool(await self._emit(self._sets[:3], [*self._held(claim), batch, self.limits.max_events, *parts]))

    async def finish(self, claim: Claim, end: Finished | Broken | None) -> bool:
        """End a task with its result or problem, as cancelled with None; False if it is in other hands."""
        state, field, document, event = _ending(end)
        arguments: list[_Argument] = [*self._held(claim), state, field, document, event]
        retention = _milliseconds(self.limits.retention)
        return bool(await self._finish(self._sets[:3], [*arguments, retention, self.limits.max_events]))

    async def suspend(self, claim: Claim, progress: Progress, waiting: Sequence[dict[str, Any]]) -> bool:
        """Let a task wait for people, or end if it was cancelled; False if it is in other hands.

        Raises
        ------
        ProgressTooLarge
            If the progress is more than a task may keep.
        """
        arguments: list[_Argument] = [*self._held(claim), _encoded(progress), json.dumps(waiting), _CANCELLED]
        retention = _milliseconds(self.limits.retention)
        return bool(await self._suspend(self._sets[:3], [*arguments, retention, self.limits.max_events]))

    async def release(self, claim: Claim) -> bool:
        """Give a task back to the queue; False if it is in other hands already."""
        return bool(await self._release(self._sets[:3], self._held(claim)))

    def events_key(self, task_id: str) -> str:
        """Key of the stream of a task's events."""
        return f"{self._base}:{task_id}:events"

    def _held(self, claim: Claim) -> list[_Argument]:
        return [self._base, claim.task.id, claim.fence]


def _fields(order: TaskOrder) -> list[_Argument]:
    fields: dict[str, _Argument] = {
        "user": order.user,
        "revision": order.revision,
        "request": json.dumps(order.request),
        "request_id": order.request_id,
    }
    if order.run_id:
        fields["run_id"] = order.run_id
    if order.conversation_id is not None:
        fields["conversation"] = order.conversation_id
    if order.continues is not None:
        fields["continues"] = order.continues.encode(errors="replace")
    if order.waiting is not None:
        fields["progress"] = _encoded(order.waiting.progress)
        fields["iterations"] = str(order.waiting.progress.iterations)
        fields["tool_calls"] = str(order.waiting.progress.tool_calls)
    return [part for pair in fields.items() for part in pair]


def _encoded(progress: Progress) -> bytes:
    document = json.dumps(progress_document(progress), separators=(",", ":")).encode()
    if len(document) > MAX_PROGRESS_BYTES:
        raise ProgressTooLarge(
            f"the messages of the task have {len(document)} bytes, at most {MAX_PROGRESS_BYTES} are kept"
        )
    return document


def _calls(calls: Sequence[ToolCall]) -> str:
    return json.dumps([waiting_call(call) for call in calls])


def _asked(calls: Sequence[ToolCall]) -> list[str]:
    return [json.dumps(asdict(ApprovalRequired(**waiting_call(call)))) for call in calls]


def _ending(end: Finished | Broken | None) -> tuple[TaskState, str, str, str]:
    if end is None:
        return TaskState.CANCELLED, "cancelled", "1", _CANCELLED
    if isinstance(end, Finished):
        return TaskState.SUCCEEDED, "result", json.dumps(end.result), _ended(Completed(end.result))
    return TaskState.FAILED, "problem", json.dumps(end.problem), _ended(Failed(end.problem))


def _ended(event: Event) -> str:
    return json.dumps(asdict(event))


def _swept() -> tuple[dict[str, Any], ...]:
    timeout = HTTPStatus.GATEWAY_TIMEOUT
    problems = (
        Problem(ProblemType.APPROVAL_TIMEOUT, timeout, "Nobody decided about the waiting calls in time."),
        Problem(ProblemType.TASK_EXPIRED, timeout, "The task did not end within its time."),
        Problem(
            ProblemType.TASK_ABANDONED,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "The pods that ran the task were lost again and again, so it is not tried once more.",
        ),
    )
    return tuple(problem.document() for problem in problems)


def _owner(user: str | None) -> str:
    # Told apart from a user without a name, who must own nothing but his own.
    return "" if user is None else "u" + user


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
