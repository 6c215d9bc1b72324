"""Tools of an HTTP API that has an OpenAPI description."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import structlog
from yarl import URL

from agent_runtime.proxies import proxy_of
from agent_runtime.tools.headers import HeaderMissing
from agent_runtime.tools.openapi_description import MAX_DESCRIPTION_BYTES, read_description
from agent_runtime.tools.openapi_request import Request, request_of
from agent_runtime.tools.openapi_schema import DescriptionInvalid
from agent_runtime.tools.source import (
    MAX_ANSWER_BYTES,
    SourceTimeout,
    SourceUnavailable,
    ToolFailed,
    usable_tools,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent_api.runtime_document import ToolSourceDocument
    from agent_runtime.tools.headers import SecretHeaders
    from agent_runtime.tools.openapi_description import Description, Operation
    from agent_runtime.tools.source import Tool

FETCH_SECONDS = 15.0
CONNECT_SECONDS = 5.0
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
MAX_REDIRECTS = 3
_TOO_MANY_REQUESTS = 429
_FIRST_ERROR = 400
_FIRST_SERVER_ERROR = 500
_NOT_IMPLEMENTED = 501
_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPING_METHOD = (307, 308)
_TEXTUAL = (
    "text/",
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/problem",
)
_log = structlog.get_logger("agent_runtime")


class OpenApiSource:
    """One HTTP API; its description is read once, when the process starts."""

    def __init__(self, document: ToolSourceDocument, headers: SecretHeaders) -> None:
        self.name = document.name
        self._document = document
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None
        self._base_url = ""
        self._proxy: str | None = None
        self._operations: dict[str, Operation] = {}
        self._tools: tuple[Tool, ...] = ()
        self._log = _log.bind(source=document.name)

    @property
    def listed(self) -> bool:
        """Whether the description was read and connections can be made."""
        return self._session is not None and bool(self._base_url)

    def tools(self) -> tuple[Tool, ...]:
        """Its operations."""
        return self._tools

    async def run(self) -> None:
        """Read the description, until that works, and own the connections until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session:
            self._session = session
            try:
                await self._learn()
                await asyncio.Event().wait()
            finally:
                self._session = None

    async def call(self, tool: str, arguments: Mapping[str, Any], trace: Mapping[str, str], seconds: float) -> str:
        """Call an operation; raises SourceError."""
        session, operation = self._session, self._operations.get(tool)
        if session is None or operation is None:
            raise SourceUnavailable("the API is not known yet")
        request = request_of(operation, self._base_url, arguments)
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(session, request, trace)
        except TimeoutError:
            raise SourceTimeout(f"no answer within {seconds:.0f} s") from None
        except HeaderMissing as error:
            raise SourceUnavailable(str(error)) from None
        except (aiohttp.ClientError, OSError) as error:
            raise SourceUnavailable(f"the API was not reached ({type(error).__name__})") from None

    async def _exchange(self, session: aiohttp.ClientSession, request: Request, trace: Mapping[str, str]) -> str:
        headers = {"Accept": "application/json, text/*;q=0.9, */*;q=0.1", **request.headers, **trace}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        headers = _with_secrets(headers, self._headers.read())
        url, method = request.url, request.method
        for _ in range(MAX_REDIRECTS + 1):
            async with session.request(
                method,
                URL(url, encoded=True),
                headers=headers,
                data=request.body,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                if response.status not in _REDIRECTS:
                    return _judged(response.status, await _text_of(response))
                url = _followed(url, method, response)
        raise ToolFailed("the API redirects too often")

    async def _learn(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while not self._base_url:
            try:
                self._adopt(await self._read())
            except (DescriptionInvalid, aiohttp.ClientError, OSError, HeaderMissing) as error:
                cause = str(error) if isinstance(error, DescriptionInvalid | HeaderMissing) else type(error).__name__
                self._log.warning("OpenAPI description is not usable", cause=cause, retry_seconds=round(delay, 1))
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads attempts, hides nothing
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def _read(self) -> Description:
        text, url = self._document.open_api, self._document.open_api_url
        if text is None and url is not None:
            async with asyncio.timeout(FETCH_SECONDS):
                text = await self._fetch(url)
        return await asyncio.to_thread(
            read_description,
            text or "",
            url or "",
            lambda tool, cause: self._log.warning("tool is left out", tool=tool, cause=cause),
        )

    async def _fetch(self, url: str) -> str:
        if self._session is None:
            raise DescriptionInvalid("the source is closed")
        headers = self._headers.read() if self._is_of_the_api(url) else {}
        for _ in range(MAX_REDIRECTS + 1):
            async with self._session.get(url, headers=headers, allow_redirects=False, proxy=proxy_of(url)) as response:
                if response.status in _REDIRECTS:
                    url = _followed(url, "GET", response)
                    continue
                if response.status >= _FIRST_ERROR:
                    raise DescriptionInvalid(f"its URL answers with status {response.status}")
                return (await _bounded(response, MAX_DESCRIPTION_BYTES + 1)).decode("utf-8-sig", "replace")
        raise DescriptionInvalid("its URL redirects too often")

    def _is_of_the_api(self, url: str) -> bool:
        """Whether a URL is of the API itself: its secrets go nowhere else."""
        return self._document.base_url is None or _origin(self._document.base_url) == _origin(url)

    def _adopt(self, description: Description) -> None:
        base = self._document.base_url or description.server
        if not base.startswith(("http://", "https://")) or not urlsplit(base).netloc:
            raise DescriptionInvalid("it names no server, and baseURL is not set")
        operations = {operation.tool.name: operation for operation in reversed(description.operations)}
        self._tools = usable_tools(
            (operation.tool for operation in description.operations),
            lambda tool, cause: self._log.warning("tool is left out", tool=tool, cause=cause),
        )
        self._operations = {tool.name: operations[tool.name] for tool in self._tools}
        self._proxy = proxy_of(base)
        self._base_url = base
        self._log.info("tools listed", count=len(self._tools))


def _with_secrets(headers: dict[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Headers of a call, in which the secret ones have the last word however they are spelled."""
    names = {name.lower() for name in secrets}
    return {name: value for name, value in headers.items() if name.lower() not in names} | dict(secrets)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = URL(url)
    return parts.scheme, parts.host, parts.port


def _followed(url: str, method: str, response: aiohttp.ClientResponse) -> str:
    """Where a redirect leads; only within the same origin, and only without changing the call."""
    target = urljoin(url, response.headers.get("Location", ""))
    if _origin(target) != _origin(url):
        raise ToolFailed("the API redirects to another host, which is not followed")
    if method not in ("GET", "HEAD") and response.status not in _KEEPING_METHOD:
        raise ToolFailed(f"the API redirects a {method}, which is not followed")
    return target


def _judged(status: int, text: str) -> str:
    if status == _TOO_MANY_REQUESTS or (status >= _FIRST_SERVER_ERROR and status != _NOT_IMPLEMENTED):
        raise SourceUnavailable(f"status {status}\n{text}")
    if status >= _FIRST_ERROR:
        raise ToolFailed(f"status {status}\n{text}")
    return text or f"status {status}, no content"


async def _text_of(response: aiohttp.ClientResponse) -> str:
    content = await _bounded(response, MAX_ANSWER_BYTES)
    kind = response.content_type
    if content and not kind.startswith(_TEXTUAL) and not kind.endswith(("+json", "+xml")):
        return f"[{kind}, {len(content)} bytes, not shown]"
    try:
        return content.decode(response.charset or "utf-8", "replace")
    except LookupError:
        return content.decode("utf-8", "replace")


async def _bounded(response: aiohttp.ClientResponse, most: int) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) >= most:
            break
    return bytes(content[:most])
