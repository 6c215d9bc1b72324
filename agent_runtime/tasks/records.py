"""What the task store takes and gives, and how it refuses.

TaskRefused
├── QueueFull             no more tasks now
├── IdempotencyConflict   the key was used with another request
├── TaskNotFound          no such task, or not of this user
├── CallNotFound          the task does not wait for this call
├── AlreadyDecided        the other decision was made before
└── TaskClosed            the task's state does not allow it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent_runtime.access.caller import ANONYMOUS
from agent_runtime.core.task_state import TaskState

if TYPE_CHECKING:
    from agent_runtime.core.progress import Progress
    from agent_runtime.core.task_state import Step
    from agent_runtime.tasks.runner import Task, Waiting


class TaskRefused(Exception):
    """The store does not do it, for a reason that lies with the request."""


class QueueFull(TaskRefused):
    """No more tasks can wait now."""


class IdempotencyConflict(TaskRefused):
    """The idempotency key was used with another request."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"task {task_id} was made with the same key and another request")
        self.task_id = task_id


class TaskNotFound(TaskRefused):
    """There is no such task, or it is another user's."""


class CallNotFound(TaskRefused):
    """The task does not wait for this call."""


class AlreadyDecided(TaskRefused):
    """Somebody decided otherwise about this call before."""


class TaskClosed(TaskRefused):
    """The state of the task does not allow it."""

    def __init__(self, state: TaskState) -> None:
        super().__init__(f"the task is {state}")
        self.state = state


@dataclass(frozen=True, slots=True)
class TaskLimits:
    """Bounds of all tasks of an agent; times in seconds.

    A pod that is not heard of for `lease` loses its tasks; a task whose revision has no worker is adopted by another
    after `adoption`; one that lost `max_lost` pods fails. Ended tasks are kept for `retention`.
    """

    lease: float = 15
    adoption: float = 10
    max_lost: int = 5
    retention: float = 86_400
    max_events: int = 10_000


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """A task to be made. With `waiting` it begins where a run stopped for an approval.

    `key` is the caller's idempotency key; `max_queue` bounds the tasks that wait, `max_of_user` those of one user that
    have not ended; `max_age` the seconds until it fails if it has not ended. `continues` is the
    conversation whose history belongs to the task, `conversation_id` the one that it is a turn of. `run_id` is the run
    that the task goes on with, empty for one of its own.
    """

    request: dict[str, Any]
    user: str
    revision: str
    key: str | None = None
    max_queue: int = 1000
    max_of_user: int = 100
    max_age: float = 86_400
    request_id: str = ""
    run_id: str = ""
    conversation_id: str | None = None
    continues: str | None = None
    waiting: Waiting | None = None

    @property
    def has_named_user(self) -> bool:
        """Whether the user is one: all who give no name share one, so that what they ask cannot be told apart."""
        return self.user != ANONYMOUS


@dataclass(frozen=True, slots=True)
class Created:
    """The task of an order; not `fresh` if an order with the same key made it before."""

    task_id: str
    state: TaskState
    fresh: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A task in the hands of one worker; `fence` proves it. `ended_unseen` are calls whose end no event tells of."""

    task: Task
    fence: str
    progress: Progress | None
    step: Step
    ended_unseen: frozenset[str]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person says about a call."""

    approved: bool
    who: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task as its user sees it; times are Unix seconds. `newest_event` is the number of its last event so far."""

    task_id: str
    state: TaskState
    revision: str
    created: float
    deadline: float
    ended: float | None = None
    moved_from: str | None = None
    conversation_id: str | None = None
    attempt: int = 0
    iterations: int = 0
    tool_calls: int = 0
    cancel_requested: bool = False
    waiting: tuple[dict[str, Any], ...] = ()
    decisions: tuple[dict[str, Any], ...] = ()
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    newest_event: int = 0


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """How many tasks of the agent have not ended."""

    queued: int
    running: int
    waiting: int
