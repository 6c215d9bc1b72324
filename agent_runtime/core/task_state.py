"""What becomes of a task, and how far it has come, from what the store keeps of it. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from agent_runtime.core.messages import message_document, message_of
from agent_runtime.core.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent_runtime.core.loop import ToolCall


class TaskState(StrEnum):
    """Where a task stands; the last three are for good."""

    QUEUED = "Queued"
    RUNNING = "Running"
    WAITING = "WaitingForApproval"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def terminal(self) -> bool:
        """Whether the task has ended."""
        return self in (TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Step:
    """What was noted since the model's last answer, all by id of the call; `started` has the rule that allowed it."""

    started: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    approved: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()


def progress_document(progress: Progress) -> dict[str, Any]:
    """Progress for JSON."""
    return {
        "messages": [message_document(message) for message in progress.messages],
        "iterations": progress.iterations,
        "started": sorted(progress.started),
        "results": dict(progress.results),
        "tool_calls": progress.tool_calls,
        "calls_by_rule": {str(rule): calls for rule, calls in progress.calls_by_rule.items()},
    }


def progress_of(document: Mapping[str, Any], step: Step) -> Progress:
    """Where to go on: the progress that was kept, with the calls that began and ended since.

    Raises
    ------
    KeyError
        If the document is not one.
    """
    kept = frozenset(document["started"])
    # Not there in what an earlier release kept.
    by_rule = Counter({int(rule): calls for rule, calls in document.get("calls_by_rule", {}).items()})
    by_rule.update(rule for call, rule in step.started.items() if call not in kept)
    return Progress(
        messages=tuple(message_of(message) for message in document["messages"]),
        iterations=document["iterations"],
        started=kept | step.started.keys(),
        results={**document["results"], **step.results},
        tool_calls=document["tool_calls"] + len(step.started.keys() - kept),
        calls_by_rule=dict(by_rule),
    )


def unknown_calls(progress: Progress | None, idempotent: Callable[[ToolCall], bool]) -> frozenset[str]:
    """Calls that began, may have done their work, and must not be run again."""
    if progress is None:
        return frozenset()
    return frozenset(call.id for call in progress.pending if call.id in progress.started and not idempotent(call))
