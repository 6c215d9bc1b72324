"""Follows a task to its end, over streams that break."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentctl.errors import AgentctlError, UnreachableError
from agentctl.tasks.agent_http import TaskEvent
from agentctl.tasks.page import answer_of, decision_lines, event_line, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentctl.environment import Timing
    from agentctl.rollout.guidance import Invocation
    from agentctl.tasks.agent_http import AgentHttp
    from agentctl.text.terminal import Terminal

MAX_FRUITLESS = 30
RETRY_SECONDS = 1.0
APPROVAL = "approval.required"
DELTA = "delta"
COMPLETED = "completed"
ENDS = frozenset({COMPLETED, "error", "cancelled"})


class TaskFailedError(AgentctlError):
    """The task ended without an answer."""


def watch_task(agent: AgentHttp, task: str, invocation: Invocation, terminal: Terminal, timing: Timing) -> None:
    """Print what happens in a task until it ends, and what can be typed about a call that waits.

    Raises
    ------
    TaskFailedError
        If it ends without an answer.
    ApiError
        If the agent does not let it be watched, or cannot be reached for half a minute.
    """
    streamed = inside = False
    for event in _all_events(agent, task, timing):
        if event.type == DELTA:
            terminal.show(visible(str(event.document.get("text", ""))), end="")
            streamed = inside = True
            continue
        line = event_line(event)
        if inside and line:
            terminal.show("")
            inside = False
        if event.type in ENDS - {COMPLETED}:
            raise TaskFailedError(f"task {task}: {line}")
        if line:
            terminal.show(line)
        if event.type == APPROVAL:
            for typed in decision_lines(task, str(event.document.get("id", "")), invocation):
                terminal.show(typed)
        if event.type == COMPLETED and not streamed:
            terminal.show(answer_of(event.document.get("result") or {}))


def _all_events(agent: AgentHttp, task: str, timing: Timing) -> Iterator[TaskEvent]:
    """Every event once, from the first to one that ends the task."""
    seen, fruitless = "", 0
    while True:
        fruitless += 1
        try:
            for event in agent.events(task, seen):
                seen, fruitless = event.number or seen, 0
                yield event
                if event.type in ENDS:
                    return
            end = _end_of(agent.get(task)) if fruitless else None
        except UnreachableError:
            if fruitless >= MAX_FRUITLESS:
                raise
        else:
            if end is not None:
                yield end
                return
        timing.sleep(RETRY_SECONDS)


def _end_of(document: Mapping[str, Any]) -> TaskEvent | None:
    """The last event of a task whose events are no longer kept; None if it has not ended."""
    if document["ended"] is None:
        return None
    if document["result"] is not None:
        return TaskEvent("", {"type": COMPLETED, "result": document["result"]})
    if document["problem"] is not None:
        return TaskEvent("", {"type": "error", "problem": document["problem"]})
    return TaskEvent("", {"type": "cancelled"})
