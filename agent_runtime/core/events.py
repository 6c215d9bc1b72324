"""What happens in a run, in order: a stream shows it, a task keeps it, an answer is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run began."""

    request_id: str
    conversation_id: str
    revision: str
    type: Literal["run.started"] = "run.started"


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A part of the answer."""

    text: str
    type: Literal["delta"] = "delta"


@dataclass(frozen=True, slots=True)
class ToolCalled:
    """The model asked for a tool; arguments are redacted."""

    id: str
    name: str
    arguments: Any
    type: Literal["tool.call"] = "tool.call"


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool answered, failed, was denied or not run."""

    id: str
    name: str
    outcome: str
    milliseconds: int
    type: Literal["tool.result"] = "tool.result"


@dataclass(frozen=True, slots=True)
class ApprovalRequired:
    """A call waits until a person decides."""

    id: str
    name: str
    arguments: Any
    type: Literal["approval.required"] = "approval.required"


@dataclass(frozen=True, slots=True)
class UsageReported:
    """What one model call took; the cost is None while no price is known."""

    model: str
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: str | None
    type: Literal["usage"] = "usage"


@dataclass(frozen=True, slots=True)
class Completed:
    """The run ended with an answer: `result` is the document that `POST /agent/run` answers."""

    result: dict[str, Any] = field(default_factory=dict)
    type: Literal["completed"] = "completed"


@dataclass(frozen=True, slots=True)
class Failed:
    """The run ended without one: `problem` is the problem document."""

    problem: dict[str, Any] = field(default_factory=dict)
    type: Literal["error"] = "error"


Event = RunStarted | TextDelta | ToolCalled | ToolEnded | ApprovalRequired | UsageReported | Completed | Failed


class EventSink(Protocol):
    """Takes the events of a run in order."""

    async def __call__(self, event: Event, /) -> None:
        """Pass one on."""
