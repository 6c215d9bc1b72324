"""What the routes of tasks take and give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from agent_runtime.core.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent_runtime.tasks.records import TaskView

MAX_REASON_CHARACTERS = 1000


class ApprovalRequest(BaseModel):
    """What a person decides about a call of a tool."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    decision: Literal["approve", "reject"] = Field(description="Whether the call may run.")
    reason: Annotated[str, Field(max_length=MAX_REASON_CHARACTERS)] = Field(
        default="", description="Why; kept with the decision."
    )


class TaskAccepted(BaseModel):
    """A task that was made, or found by its idempotency key."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    status: TaskState
    conversation_id: str | None = Field(description="Send it back to continue the conversation.")
    revision: str


class WaitingCall(BaseModel):
    """A call of a tool that waits for a person."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    arguments: Any = Field(default=None, description="Redacted; null if they are not shown.")


class DecisionDocument(BaseModel):
    """What a person decided about a call."""

    model_config = ConfigDict(frozen=True)

    call: str
    approved: bool
    who: str
    reason: str
    at: float = Field(description="Unix seconds.")


class TaskSummary(BaseModel):
    """A task that has not ended, in the list of a user's tasks; times are Unix seconds."""

    model_config = ConfigDict(frozen=True)

    task_id: str
    status: TaskState
    conversation_id: str | None
    revision: str = Field(description="Revision that runs it or ran it last.")
    moved_from: str | None = Field(description="Revision that it began on, if it moved because that served no more.")
    created: float
    expires: float = Field(description="When it fails if it has not ended by then.")
    attempt: int = Field(description="How often a pod has taken it up.")
    iterations: int = Field(description="Answers of the model so far.")
    tool_calls: int = Field(description="Calls of tools that have ended.")
    cancel_requested: bool
    waiting_for: tuple[WaitingCall, ...] = Field(description="Calls to approve or reject.")


class TaskDocument(TaskSummary):
    """A task as its user sees it; times are Unix seconds."""

    ended: float | None
    decisions: tuple[DecisionDocument, ...]
    result: dict[str, Any] | None = Field(description="What POST /agent/run would have answered.")
    problem: dict[str, Any] | None = Field(description="Problem document of a task that failed.")


class TaskList(BaseModel):
    """Tasks of one user that have not ended, the newest first."""

    model_config = ConfigDict(frozen=True)

    tasks: tuple[TaskSummary, ...]


def task_document(view: TaskView) -> TaskDocument:
    """The document of a task."""
    return TaskDocument(
        **_summary(view),
        ended=view.ended,
        decisions=tuple(DecisionDocument(**decision) for decision in view.decisions),
        result=view.result,
        problem=view.problem,
    )


def task_list(views: Iterable[TaskView]) -> TaskList:
    """The list of these tasks."""
    return TaskList(tasks=tuple(TaskSummary(**_summary(view)) for view in views))


def _summary(view: TaskView) -> dict[str, Any]:
    """Members that a task has anywhere; calls that were decided are not waited for."""
    decided = {decision["call"] for decision in view.decisions}
    return {
        "task_id": view.task_id,
        "status": view.state,
        "conversation_id": view.conversation_id,
        "revision": view.revision,
        "moved_from": view.moved_from,
        "created": view.created,
        "expires": view.deadline,
        "attempt": view.attempt,
        "iterations": view.iterations,
        "tool_calls": view.tool_calls,
        "cancel_requested": view.cancel_requested,
        "waiting_for": tuple(WaitingCall.model_validate(call) for call in view.waiting if call["id"] not in decided),
    }
