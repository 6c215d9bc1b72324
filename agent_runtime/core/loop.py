"""What the agent says to the model: the messages of a run and the bound on its iterations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the exchange with the model."""

    role: Literal["system", "user", "assistant"]
    content: str


def opening_messages(instructions: str, query: str) -> tuple[Message, ...]:
    """Messages of the first iteration; agents without instructions send no empty system message."""
    question = Message("user", query)
    return (Message("system", instructions), question) if instructions else (question,)


def iteration_limit(requested: int, allowed: int) -> int:
    """Iterations that a run may take: what the caller wants, never more than the agent allows."""
    return min(requested, allowed)
