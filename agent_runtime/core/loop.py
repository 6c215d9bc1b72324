"""What the agent says to the model, what the model asks for, and the bounds of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_INVALID_ARGUMENTS = 2
"""How often in a row a model is told that its arguments are not valid; the next time ends the run."""

MAX_IDENTICAL_FAILURES = 3
"""How often the same call may fail in the same way before the run ends."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for; `name` is the one on the wire, `arguments` is its text, perhaps no JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the exchange with the model."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it. `name` is <source>.<tool>, `wire_name` what the protocol allows."""

    name: str
    wire_name: str
    description: str
    parameters: dict[str, Any]
    idempotent: bool = False


def opening_messages(instructions: str, spoken: Sequence[Message]) -> tuple[Message, ...]:
    """Messages of the first iteration; agents without instructions send no empty system message."""
    opening = (Message("system", instructions),) if instructions else ()
    return (*opening, *spoken)


def iteration_limit(requested: int, allowed: int) -> int:
    """Iterations that a run may take: what the caller wants, never more than the agent allows."""
    return min(requested, allowed)
