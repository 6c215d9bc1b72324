"""The OpenAI SDK's client of one endpoint, with a shorter way for the one call that a run makes again and again."""

from __future__ import annotations

import asyncio
from http import HTTPMethod
from typing import TYPE_CHECKING

import httpx2
import orjson
from openai import APIStatusError, AsyncOpenAI

from agent_runtime.core.faults import error_code_of
from agent_runtime.llm.broken_connection import CONNECTION_ERRORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

COMPLETIONS_PATH = b"chat/completions"
CONNECT_SECONDS = 10.0
"""Longest wait for a connection: three lost packets are sent again within it."""

REFUSAL_SECONDS = 1.0
"""How long the body of a refusal is waited for, which only tells more of it."""

MAX_REFUSAL_BYTES = 64 * 1024
_NO_KEY = "comes with each call"
_TELEMETRY = "x-stainless-"
"""Begin of the names of headers that tell the maker of the SDK about the machine: no other provider needs them."""

_Headers = list[tuple[bytes, bytes]]


class EndpointConnection(AsyncOpenAI):
    """Opens streams of answers.

    The SDK's `post` parses the URL, merges the headers, and copies and validates its options anew for every call, which
    takes a fifth of a run's CPU. Here what is the same for all calls is made once; retries are not the SDK's in any
    case.
    """

    def __init__(self, base_url: str, http: httpx2.AsyncClient, first_token_seconds: float) -> None:
        super().__init__(api_key=_NO_KEY, base_url=base_url, max_retries=0, timeout=None, http_client=http)
        self._http = http
        self._url = self.base_url.copy_with(raw_path=self.base_url.raw_path + COMPLETIONS_PATH)
        self._common = self._common_headers()
        # Half of the patience is the answer's: else nobody could tell a host that is silent from a model that is.
        self._extensions = {"timeout": {"connect": min(CONNECT_SECONDS, first_token_seconds / 2)}}

    def _common_headers(self) -> _Headers:
        """The SDK's headers, such as those of organization and project."""
        named = {name: value for name, value in self.default_headers.items() if isinstance(value, str)}
        sent = {name: value for name, value in named.items() if not name.lower().startswith(_TELEMETRY)}
        # A proxy that packs a stream holds parts of it back.
        return _encoded({**sent, "Accept-Encoding": "identity"})

    async def open(self, key: str | None, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        """Ask for a completion; the answer is to be closed by the caller.

        Raises
        ------
        APIStatusError
            If the endpoint refuses; of what the endpoint wrote it carries the `code`, one plain word, at most.
        httpx2.HTTPError, aiohttp.ClientError, OSError
            If there is no answer.
        """
        own = _encoded(headers if key is None else {"Authorization": f"Bearer {key}", **headers})
        request = httpx2.Request(
            HTTPMethod.POST,
            self._url,
            headers=[*self._common, *own],
            content=content,
            extensions=self._extensions,
        )
        response = await self._http.send(request, stream=True)
        if not response.is_success:
            try:
                told = {"code": await _code_of(response)}
            finally:
                await response.aclose()
            raise APIStatusError(f"status {response.status_code}", response=response, body=told)
        return response


async def _code_of(response: httpx2.Response) -> str:
    """What the provider calls the reason of a refusal; empty if it does not say so at once."""
    body = b""
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            async for part in parts_of(response):
                body += part
                if len(body) > MAX_REFUSAL_BYTES:
                    return ""
        return error_code_of(orjson.loads(body))
    except (TimeoutError, ValueError, *CONNECTION_ERRORS):
        return ""


def parts_of(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Body of a response as it comes; raises httpx2.HTTPError.

    The decoders of httpx, and what it counts, are passed only if it is packed, although nobody asked for that.
    """
    if "content-encoding" in response.headers or not isinstance(response.stream, httpx2.AsyncByteStream):
        return response.aiter_bytes()
    return aiter(response.stream)


def _encoded(headers: Mapping[str, str]) -> _Headers:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
