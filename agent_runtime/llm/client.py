"""The protocol that every layer of a model call speaks, and the ways it fails.

ModelError
├── EndpointFailed     one endpoint, after its retries
├── EndpointRefused    one endpoint that was not asked: its breaker is open, or its price is not known
├── BudgetExceeded     the worst case of the call does not fit; another model may
├── LedgerUnavailable  money cannot be counted now
├── ModelUnavailable   all endpoints
├── StreamBroken       the answer broke off after a part of it had gone to the caller
├── AttemptsExhausted  the run has made as many attempts as it may
└── DeadlineExceeded   the run's time is over
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_runtime.core.faults import Fault
    from agent_runtime.core.loop import Message, ToolCall, ToolSpec


class DeltaSink(Protocol):
    """Takes the text of an answer as it arrives."""

    async def __call__(self, text: str, /) -> None:
        """Pass a part on."""


@dataclass(slots=True)
class Run:
    """What all model calls of one run share; only the layers change it.

    `id` is our own name of the run, by which its budget is counted: that of its request is the caller's, who may use it
    for many. `deadline` is on the event loop's clock. `user` is who pays: from the credential where access is on.
    `answered_micro` is the part of `spent_micro` that brought answers. `produced_bytes` is what the present attempt has
    produced so far: it is paid for even if nobody waits for the rest. `take_back` is called when an answer broke off
    whose text was passed on: whoever held all of it back drops it, and says so.
    """

    request_id: str
    deadline: float
    user: str = "anonymous"
    id: str = ""
    attempts: int = 0
    max_attempts: int = 50
    produced_bytes: int = 0
    spent_micro: int = 0
    answered_micro: int = 0
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    unpriced: bool = False
    fell_back: bool = False
    trace_headers: dict[str, str] = field(default_factory=dict)
    take_back: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model; a `forced` one is put to an endpoint even while its breaker is open."""

    messages: tuple[Message, ...]
    run: Run
    tools: tuple[ToolSpec, ...] = ()
    response_format: dict[str, Any] | None = None
    emit: DeltaSink | None = None
    forced: bool = False

    @property
    def request_id(self) -> str:
        """Id of the run, which goes with every call."""
        return self.run.request_id

    @property
    def deadline(self) -> float:
        """End of the run on the event loop's clock."""
        return self.run.deadline


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counted them; cached ones are a part of the input."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0

    @property
    def total(self) -> int:
        """Tokens in both directions."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A complete answer; `usage` is None if the provider reported none, `cost_micro` if no price is known."""

    text: str
    model: str
    finish_reason: str
    usage: Usage | None
    tool_calls: tuple[ToolCall, ...] = ()
    cost_micro: int | None = None


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
    """No answer."""


class EndpointFailed(ModelError):
    """One endpoint did not answer."""

    def __init__(self, model: str, fault: Fault, attempts: int = 1) -> None:
        super().__init__(f"{model}: {fault} after {attempts} {'attempt' if attempts == 1 else 'attempts'}")
        self.model = model
        self.fault = fault
        self.attempts = attempts


class EndpointRefused(ModelError):
    """One endpoint was not asked."""

    def __init__(self, model: str, reason: str, retry_after: float | None = None) -> None:
        super().__init__(f"{model}: {reason}")
        self.model = model
        self.reason = reason
        self.retry_after = retry_after


class BudgetExceeded(ModelError):
    """A call does not fit into `scope` (request, user, agent); `reset_seconds` is when that begins anew."""

    def __init__(self, scope: str, message: str, reset_seconds: float | None = None) -> None:
        super().__init__(message)
        self.scope = scope
        self.reset_seconds = reset_seconds


class LedgerUnavailable(ModelError):
    """Money is declared to be limited and cannot be counted now."""


class AttemptsExhausted(ModelError):
    """The run has made as many attempts as it may."""


class StreamBroken(ModelError):
    """A part of the answer has gone to the caller, and the rest will not come, because of `fault`."""

    def __init__(self, model: str, fault: Fault) -> None:
        super().__init__(f"{model}: {fault}, after a part of the answer")
        self.fault = fault


class ModelUnavailable(ModelError):
    """No endpoint answered."""

    def __init__(self, failures: tuple[ModelError, ...]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = failures


class DeadlineExceeded(ModelError):
    """The run's deadline passed before a model answered."""
