"""What a run knows of tools: which there are, and how one is called."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from agent_runtime.core.loop import ToolCall, ToolSpec

UNKNOWN = "unknown"
"""Stands for the name of a tool that does not exist."""


class ToolOutcome(StrEnum):
    """What became of a call; the values are label values of a metric."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    DENIED = "denied"
    INVALID_ARGUMENTS = "invalid_arguments"
    UNKNOWN_TOOL = "unknown_tool"
    APPROVAL_REQUIRED = "approval_required"
    REJECTED = "rejected"
    LOST = "lost"

    @property
    def failure(self) -> bool:
        """Whether the tool itself was asked and failed: what the verdict counts."""
        return self in (ToolOutcome.FAILED, ToolOutcome.TIMEOUT, ToolOutcome.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Result of one call. `content` is for the model: marked as data, cut to the cap, with a notice of the cut."""

    call_id: str
    name: str
    outcome: ToolOutcome
    content: str
    seconds: float = 0.0


@dataclass(slots=True)
class ToolScope:
    """What calls of one run share: who asks, until when, and how often each rule and tool was used.

    `approved` holds ids of calls that a person allowed; `deadline` is on the event loop's clock; `starting` is awaited
    with the position of the rule just before a call goes out, after everything that may still refuse it; `trace` gives
    the headers that a call carries, those of the span that is open where it is asked.
    """

    request_id: str
    user: str
    deadline: float
    approved: frozenset[str] = frozenset()
    starting: Callable[[ToolCall, int], Awaitable[None]] | None = None
    trace: Callable[[], Mapping[str, str]] = dict
    calls: int = 0
    calls_by_rule: dict[int, int] = field(default_factory=dict)


class Toolbox(Protocol):
    """All tools of one agent."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """Tools that the policy may allow; those it never allows are not told to the model."""
        ...

    async def call(self, call: ToolCall, scope: ToolScope) -> ToolResult:
        """Run one call, or say why not; failures are results, so this raises nothing but cancellation.

        A call that needs approval and is not in `scope.approved` is not run: APPROVAL_REQUIRED.
        """
        ...

    def resolve(self, wire_name: str) -> ToolSpec | None:
        """The tool of a name that the model used; None if there is none."""
        ...

    def parsed_arguments(self, call: ToolCall) -> dict[str, Any] | None:
        """Arguments of a call; None if they are no JSON object."""
        ...

    def unavailable(self) -> tuple[str, ...]:
        """Sources that cannot be used now."""
        ...
