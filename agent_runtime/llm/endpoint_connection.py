"""The OpenAI SDK's client of one endpoint, with a shorter way for the one call that a run makes again and again."""

from __future__ import annotations

from http import HTTPMethod
from typing import TYPE_CHECKING

import httpx2
from openai import APIStatusError, AsyncOpenAI

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

COMPLETIONS_PATH = b"chat/completions"
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

    def __init__(self, base_url: str, http: httpx2.AsyncClient) -> None:
        super().__init__(api_key=_NO_KEY, base_url=base_url, max_retries=0, timeout=None, http_client=http)
        self._http = http
        self._url = self.base_url.copy_with(raw_path=self.base_url.raw_path + COMPLETIONS_PATH)
        self._common = self._common_headers()

    def _common_headers(self) -> _Headers:
        """The SDK's headers, such as those of organization and project."""
        named = {name: value for name, value in self.default_headers.items() if isinstance(value, str)}
        sent = {name: value for name, value in named.items() if not name.lower().startswith(_TELEMETRY)}
        # A proxy that packs a stream holds parts of it back.
        return _encoded({**sent, "Accept-Encoding": "identity"})

    async def open(self, key: str, content: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        """Ask for a completion; the answer is to be closed by the caller.

        Raises
        ------
        APIStatusError
            If the endpoint refuses; it carries nothing of what the endpoint wrote.
        httpx2.HTTPError, aiohttp.ClientError, OSError
            If there is no answer.
        """
        own = _encoded({"Authorization": f"Bearer {key}", **headers})
        request = httpx2.Request(HTTPMethod.POST, self._url, headers=[*self._common, *own], content=content)
        response = await self._http.send(request, stream=True)
        if not response.is_success:
            await response.aclose()
            raise APIStatusError(f"status {response.status_code}", response=response, body=None)
        return response


def parts_of(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Body of a response as it comes; raises httpx2.HTTPError.

    The decoders of httpx, and what it counts, are passed only if it is packed, although nobody asked for that.
    """
    if "content-encoding" in response.headers or not isinstance(response.stream, httpx2.AsyncByteStream):
        return response.aiter_bytes()
    return aiter(response.stream)


def _encoded(headers: Mapping[str, str]) -> _Headers:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]
