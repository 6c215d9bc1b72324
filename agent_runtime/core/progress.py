"""How far a run has come: what a task keeps, so that another pod can go on where the last one stopped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_runtime.core.loop import Message, ToolCall


@dataclass(frozen=True, slots=True)
class Progress:
    """State between two steps of the loop.

    `messages` are all messages so far, the opening ones included. If the last one holds tool calls, `results` are the
    contents for the model of those that ended and `started` the ids of those that began; the rest is still to be run.
    `tool_calls` counts the calls that went out, `calls_by_rule` those of each rule of the policy, by its position.
    """

    messages: tuple[Message, ...]
    iterations: int = 0
    started: frozenset[str] = frozenset()
    results: Mapping[str, str] = field(default_factory=dict)
    tool_calls: int = 0
    calls_by_rule: Mapping[int, int] = field(default_factory=dict)

    @property
    def pending(self) -> tuple[ToolCall, ...]:
        """Tool calls of the last message that have no result yet."""
        return tuple(call for call in self.messages[-1].tool_calls if call.id not in self.results)


class Journal(Protocol):
    """Keeps the progress of a run; each call returns when it is kept."""

    async def answered(self, progress: Progress) -> None:
        """Note what the model asked for; its calls have not begun."""
        ...

    async def tool_started(self, call: ToolCall, rule: int) -> None:
        """Note that a call begins, by which rule of the policy: from here on its outcome is unknown until it ended."""
        ...

    async def tool_ended(self, call: ToolCall, content: str) -> None:
        """Note the result of a call, as the model will be told."""
        ...


class NoJournal:
    """Journal of a run that nobody takes over."""

    async def answered(self, progress: Progress) -> None:
        """Keep nothing."""

    async def tool_started(self, call: ToolCall, rule: int) -> None:
        """Keep nothing."""

    async def tool_ended(self, call: ToolCall, content: str) -> None:
        """Keep nothing."""
