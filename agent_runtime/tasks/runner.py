"""What a worker asks of the agent: go on with a task from where it stands, and say how that ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agent_runtime.core.events import EventSink
    from agent_runtime.core.loop import ToolCall
    from agent_runtime.core.progress import Journal, Progress

MAX_SHOWN_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Task:
    """A task as its runner sees it.

    `request` is the body of the request. `attempt` counts from 1; `moved_from` is the revision that it began on, if
    that is another one. `seconds_left` is the time until it is too old, as of now. `run_id` names its run in budgets
    and limits, over all pods that have it.
    """

    id: str
    user: str
    revision: str
    request: dict[str, Any]
    attempt: int
    seconds_left: float
    request_id: str = ""
    run_id: str = ""
    conversation_id: str | None = None
    continues: str | None = None
    moved_from: str | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The task has a result: what `POST /agent/run` would answer."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """The task failed: `problem` is the problem document."""

    problem: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Calls wait for a person, who is shown their arguments; `progress` is where to go on."""

    progress: Progress
    calls: tuple[ToolCall, ...]


def waiting_call(call: ToolCall) -> dict[str, Any]:
    """What a person is shown of a call that waits."""
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = call.arguments[:MAX_SHOWN_CHARACTERS]
    return {"id": call.id, "name": call.name, "arguments": arguments}


TaskEnd = Finished | Broken | Waiting


class TaskRunner(Protocol):
    """Runs tasks of one revision."""

    async def run(
        self,
        task: Task,
        progress: Progress | None,
        journal: Journal,
        emit: EventSink,
        approved: frozenset[str],
        rejected: frozenset[str],
        unknown: frozenset[str],
    ) -> TaskEnd:
        """Go on from `progress`, or begin where there is none.

        People decided on the calls in `approved` and `rejected`; the outcome of those in `unknown` was lost with the
        pod that made them. What `journal` and `emit` raise passes through, and so does cancellation.
        """
        ...
