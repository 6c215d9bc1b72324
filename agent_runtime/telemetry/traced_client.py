"""The layer around one endpoint that shows every call as a span and measures it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent_runtime.telemetry.spans import ModelSpan

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_api.runtime_document import EndpointDocument
    from agent_runtime.llm.client import ModelAnswer, ModelClient, ModelRequest
    from agent_runtime.telemetry.tracing import Tracing


class TracedClient:
    """Asks the client once; `hook` is told the model and the seconds of every call that ended."""

    def __init__(
        self,
        client: ModelClient,
        endpoint: EndpointDocument,
        tracing: Tracing,
        hook: Callable[[str, float], None],
    ) -> None:
        self._client = client
        self._model = endpoint.model
        self._plan = tracing.plan_model_call(endpoint)
        self._tracing = tracing
        self._hook = hook

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request; raises what the client raises."""
        clock = asyncio.get_running_loop().time
        outer, begun = request.run.trace_headers, clock()
        with ModelSpan(self._plan) as span:
            # The calls of a run follow one another, so that the headers may be those of this one while it lasts.
            request.run.trace_headers = self._tracing.inject() or outer
            span.asked(request.messages)
            try:
                answer = await self._client.complete(request)
            finally:
                request.run.trace_headers = outer
                self._hook(self._model, clock() - begun)
            span.answered(answer)
            return answer
