"""The protocol that every layer of a model call speaks, and the ways it fails.

ModelError
├── EndpointFailed     one endpoint, after its retries
├── ModelUnavailable   all endpoints
└── DeadlineExceeded   the run's time is over
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from agent_runtime.core.faults import Fault
    from agent_runtime.core.loop import Message


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model; `deadline` is on the event loop's clock."""

    messages: tuple[Message, ...]
    request_id: str
    deadline: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them."""

    input_tokens: int
    output_tokens: int

    @property
    def total(self) -> int:
        """Tokens in both directions."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A complete answer; `usage` is None if the provider reported none."""

    text: str
    model: str
    finish_reason: str
    usage: Usage | None
    attempts: int = 1


class ModelClient(Protocol):
    """Anything that answers a model request."""

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request.

        Raises
        ------
        ModelError
            If there is no complete answer.
        """
        ...


class ModelError(Exception):
    """No answer; `attempts` calls were made."""

    def __init__(self, message: str, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts


class EndpointFailed(ModelError):
    """One endpoint did not answer."""

    def __init__(self, model: str, fault: Fault, attempts: int = 1) -> None:
        super().__init__(f"{model}: {fault} after {attempts} {'attempt' if attempts == 1 else 'attempts'}", attempts)
        self.model = model
        self.fault = fault


class ModelUnavailable(ModelError):
    """No endpoint answered."""

    def __init__(self, failures: tuple[EndpointFailed, ...]) -> None:
        super().__init__("; ".join(map(str, failures)), sum(failure.attempts for failure in failures))
        self.failures = failures


class DeadlineExceeded(ModelError):
    """The run's deadline passed before a model answered."""
