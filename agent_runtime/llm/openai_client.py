"""One endpoint that speaks the OpenAI protocol. Streams always, so that a silent model is noticed early."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import aiohttp
import httpx2
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI, AsyncStream

from agent_api.meta import REQUEST_ID_HEADER
from agent_runtime.core.faults import Fault, FaultKind, fault_of_status
from agent_runtime.llm.chunks import AnswerParts, ChunkMalformed, read_chunk
from agent_runtime.llm.client import EndpointFailed, ModelAnswer
from agent_runtime.llm.credentials import CredentialMissing

if TYPE_CHECKING:
    from agent_api.runtime_document import EndpointDocument
    from agent_runtime.llm.client import ModelRequest
    from agent_runtime.llm.credentials import Credentials

COMPLETIONS_PATH = "/chat/completions"
TAIL_SECONDS = 2.0
"""How long a finished answer is held for the usage that should follow it."""

_MAX_COMPLETION_TOKENS_MODELS = ("o1", "o3", "o4", "gpt-5")
"""Beginnings of the names of models that refuse `max_tokens`."""


class OpenAIClient:
    """Asks one endpoint once."""

    def __init__(
        self, endpoint: EndpointDocument, position: int, credentials: Credentials, http: httpx2.AsyncClient
    ) -> None:
        self._endpoint = endpoint
        self._position = position
        self._credentials = credentials
        self._client = AsyncOpenAI(
            api_key=self._current_key, base_url=endpoint.base_url, max_retries=0, timeout=None, http_client=http
        )

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request; raises EndpointFailed, whose fault carries nothing that the provider wrote."""
        try:
            return await self._exchange(request)
        # `from None`: what a provider writes may quote the key, and must not reach a log by way of a chained exception.
        except _Stopped as stopped:
            fault = stopped.fault
        except APIStatusError as error:
            fault = fault_of_status(error.status_code, error.response.headers, time.time())
        except CredentialMissing:
            fault = Fault(FaultKind.CREDENTIAL)
        except (ChunkMalformed, ValueError):
            fault = Fault(FaultKind.MALFORMED)
        except (APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError):
            fault = Fault(FaultKind.CONNECTION)
        except APIError:
            fault = Fault(FaultKind.UNAVAILABLE)
        raise EndpointFailed(self._endpoint.model, fault) from None

    async def _exchange(self, request: ModelRequest) -> ModelAnswer:
        parts = AnswerParts()
        self._credentials.key(self._position)
        clock = asyncio.get_running_loop().time
        total_at = min(clock() + self._endpoint.total_seconds, request.deadline)
        try:
            async with asyncio.timeout_at(min(clock() + self._endpoint.first_token_seconds, total_at)) as timer:
                async with await self._open(request) as stream:
                    async for chunk in stream:
                        parts.add(read_chunk(chunk))
                        if parts.begun:
                            timer.reschedule(min(clock() + self._patience(parts), total_at))
        except TimeoutError:
            if parts.finish_reason is None:
                raise _Stopped(self._timeout_fault(parts, over=clock() >= total_at)) from None
        except (APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError):
            if parts.finish_reason is None:
                raise
        return self._answer(parts)

    async def _open(self, request: ModelRequest) -> AsyncStream[object]:
        # Not `chat.completions.create`: its conversions of fields and chunks cost 40 % of a run.
        return await self._client.post(
            COMPLETIONS_PATH,
            cast_to=object,
            body=request_body(self._endpoint, request),
            options={"headers": {REQUEST_ID_HEADER: request.request_id}},
            stream=True,
            stream_cls=AsyncStream[object],
        )

    def _patience(self, parts: AnswerParts) -> float:
        idle = self._endpoint.idle_seconds
        return idle if parts.finish_reason is None else min(idle, TAIL_SECONDS)

    def _timeout_fault(self, parts: AnswerParts, *, over: bool) -> Fault:
        if over:
            return Fault(FaultKind.TOTAL_TIMEOUT)
        return Fault(FaultKind.IDLE_TIMEOUT if parts.begun else FaultKind.FIRST_TOKEN_TIMEOUT)

    def _answer(self, parts: AnswerParts) -> ModelAnswer:
        if parts.finish_reason is None:
            raise _Stopped(Fault(FaultKind.CUT))
        return ModelAnswer(parts.text, self._endpoint.model, parts.finish_reason, parts.usage)

    async def _current_key(self) -> str:
        return self._credentials.key(self._position)


class _Stopped(Exception):
    """The exchange ended with a fault that we found ourselves."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def request_body(endpoint: EndpointDocument, request: ModelRequest) -> dict[str, object]:
    """Body of the call, as the OpenAI protocol has it."""
    newer = endpoint.model.startswith(_MAX_COMPLETION_TOKENS_MODELS)
    body: dict[str, object] = {
        "model": endpoint.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        # Unknown models get the field that every server knows.
        "max_completion_tokens" if newer else "max_tokens": endpoint.max_output_tokens,
    }
    if endpoint.temperature is not None:
        body["temperature"] = endpoint.temperature
    return body
