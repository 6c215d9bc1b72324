"""Asks the next endpoint when one has failed."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from agent_runtime.llm.client import DeadlineExceeded, EndpointFailed, ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent_runtime.llm.client import ModelAnswer, ModelClient, ModelRequest


class FallbackClient:
    """Tries endpoints in order; `hook` is told the model that failed before the next one is asked."""

    def __init__(self, clients: Sequence[ModelClient], hook: Callable[[str], None]) -> None:
        self._clients = tuple(clients)
        self._hook = hook

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request; raises ModelUnavailable, or DeadlineExceeded once time is over."""
        failures: list[EndpointFailed] = []
        for client in self._clients:
            if failures:
                self._hook(failures[-1].model)
            try:
                answer = await client.complete(request)
            except EndpointFailed as failure:
                failures.append(failure)
            else:
                return replace(answer, attempts=answer.attempts + sum(failure.attempts for failure in failures))
            if asyncio.get_running_loop().time() >= request.deadline:
                raise DeadlineExceeded("; ".join(map(str, failures)), sum(failure.attempts for failure in failures))
        raise ModelUnavailable(tuple(failures))
