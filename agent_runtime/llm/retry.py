"""Tries one endpoint again: the only owner of retries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent_runtime.core.retry import GiveUp, decide_retry
from agent_runtime.llm.client import AttemptsExhausted, EndpointFailed, StreamBroken

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_api.runtime_document import RetryDocument
    from agent_runtime.core.faults import Fault
    from agent_runtime.llm.client import ModelAnswer, ModelClient, ModelRequest

SUCCEEDED = "ok"
CANCELLED = "cancelled"
BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """One call to an endpoint; `result` is SUCCEEDED, CANCELLED, BROKEN or the kind of fault."""

    model: str
    result: str


class AttemptHook(Protocol):
    """Is told of every call that ended."""

    def __call__(self, attempt: AttemptEnded, /) -> None:
        """Note the attempt."""


class RetryingClient:
    """Repeats calls to one endpoint as its retry policy says."""

    def __init__(
        self,
        model: str,
        client: ModelClient,
        policy: RetryDocument,
        *,
        hook: AttemptHook,
        retried: Callable[[str], None] = lambda _model: None,
        gave_up: Callable[[Fault, int], None] = lambda _fault, _attempts: None,
        chance: Callable[[], float],
    ) -> None:
        self._model = model
        self._client = client
        self._policy = policy
        self._hook = hook
        self._retried = retried
        self._gave_up = gave_up
        self._chance = chance

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request.

        Raises
        ------
        EndpointFailed
            With the last fault.
        AttemptsExhausted
            If the run has used up its attempts at all endpoints.
        """
        attempt = 1
        while True:
            try:
                return await self._attempt(request)
            except EndpointFailed as failure:
                remaining = request.deadline - asyncio.get_running_loop().time()
                decision = decide_retry(failure.fault, attempt, self._policy, remaining, self._chance())
                if isinstance(decision, GiveUp):
                    self._gave_up(failure.fault, attempt)
                    raise EndpointFailed(self._model, failure.fault, attempt) from None
            except StreamBroken as broken:
                self._gave_up(broken.fault, attempt)
                raise
            await asyncio.sleep(decision.delay)
            self._retried(self._model)
            attempt += 1

    async def _attempt(self, request: ModelRequest) -> ModelAnswer:
        if request.run.attempts >= request.run.max_attempts:
            raise AttemptsExhausted(f"the run has made its {request.run.max_attempts} attempts")
        request.run.attempts += 1
        try:
            answer = await self._client.complete(request)
        except EndpointFailed as failure:
            self._hook(AttemptEnded(self._model, failure.fault.kind))
            raise
        except StreamBroken:
            self._hook(AttemptEnded(self._model, BROKEN))
            raise
        except asyncio.CancelledError:
            self._hook(AttemptEnded(self._model, CANCELLED))
            raise
        self._hook(AttemptEnded(self._model, SUCCEEDED))
        return answer
