"""Tools of an MCP server, over streamable HTTP.

One task owns the connection: a server that dies cancels the task in which its client lives, and that must never be the
task of a run. Runs call through the client from their own tasks, and get a clean error.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx2
import orjson
import structlog
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    REQUEST_TIMEOUT,
    EmbeddedResource,
    Implementation,
    PaginatedRequestParams,
    RequestParamsMeta,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolListChangedNotification,
)
from pydantic import ValidationError

from agent_runtime.tools.source import (
    MAX_ANSWER_BYTES,
    MAX_TOOLS,
    SourceTimeout,
    SourceUnavailable,
    Tool,
    ToolFailed,
    usable_tools,
)
from agent_runtime.tools.streams import capped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp.client.session import IncomingMessage
    from mcp_types import CallToolResult, ContentBlock

    from agent_runtime.tools.headers import SecretHeaders

CONNECT_SECONDS = 5.0
LIST_SECONDS = 20.0
REFRESH_SECONDS = 180.0
"""How long a listing is believed if the server says nothing."""

WAIT_SECONDS = 2.0
"""How long a call waits for a connection that is being made."""

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
_SETTLING_SECONDS = 0.5
_MAX_PAGES = 20
_CLIENT = Implementation(name="greylag", version="1")
_log = structlog.get_logger("agent_runtime")
_trace: ContextVar[Mapping[str, str]] = ContextVar("_trace", default=MappingProxyType({}))
"""Trace headers of the call that a request belongs to: the client sends each request in the context of its caller."""


class McpSource:
    """One MCP server."""

    def __init__(
        self,
        name: str,
        url: str,
        headers: SecretHeaders,
        drifted: Callable[[str], None],
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        self.name = name
        self._url = url
        self._headers = headers
        self._drifted = drifted
        self._refresh_seconds = refresh_seconds
        self._client: Client | None = None
        self._tools: tuple[Tool, ...] | None = None
        self._connected = asyncio.Event()
        self._refresh = asyncio.Event()
        self._hurry = asyncio.Event()
        self._log = _log.bind(source=name)

    @property
    def listed(self) -> bool:
        """Whether the connection stands and its tools are known."""
        return self._connected.is_set()

    def tools(self) -> tuple[Tool, ...]:
        """Tools of the last listing, also while the server is away."""
        return self._tools or ()

    async def run(self) -> None:
        """Keep a connection, with growing delays between attempts; ends only by cancellation."""
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                await self._serve()
            except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - whatever a dying client raises
                if self._connected.is_set():
                    delay = FIRST_DELAY_SECONDS
                self._log.warning("MCP server is not available", cause=_cause(error), retry_seconds=round(delay, 1))
            finally:
                self._client = None
                self._connected.clear()
            await self._pause(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads attempts, hides nothing
            delay = min(delay * 2, LONGEST_DELAY_SECONDS)

    async def call(self, tool: str, arguments: Mapping[str, Any], trace: Mapping[str, str], seconds: float) -> str:
        """Run a tool; raises SourceError.

        A call that finds no connection asks for one at once and waits a moment for it.
        """
        client = await self._ready(seconds)
        meta = RequestParamsMeta(**trace) if trace else None  # type: ignore[typeddict-item]
        token = _trace.set(trace)
        try:
            async with asyncio.timeout(seconds):
                result = await client.call_tool(tool, dict(arguments), seconds, meta=meta)
        except TimeoutError:
            raise SourceTimeout(f"no answer within {seconds:.0f} s") from None
        except MCPError as error:
            raise self._failure(error, seconds) from None
        except (RuntimeError, ValidationError, ValueError) as error:
            # The server's answer does not keep to the protocol or to the tool's own output schema.
            raise ToolFailed(f"the answer is not valid ({type(error).__name__})") from None
        finally:
            _trace.reset(token)
        text = _text_of(result)
        if result.is_error:
            raise ToolFailed(text)
        return text

    async def _ready(self, seconds: float) -> Client:
        if not self._connected.is_set():
            self._hurry.set()
        try:
            async with asyncio.timeout(min(seconds, WAIT_SECONDS)):
                await self._connected.wait()
        except TimeoutError:
            raise SourceUnavailable("the server is not connected") from None
        if self._client is None:
            raise SourceUnavailable("the server is not connected")
        return self._client

    def _failure(self, error: MCPError, seconds: float) -> Exception:
        if error.code == REQUEST_TIMEOUT:
            return SourceTimeout(f"no answer within {seconds:.0f} s")
        if error.code in (CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST):
            # The next listing finds out whether the connection is worth keeping.
            self._refresh.set()
        if error.code == CONNECTION_CLOSED or _is_of_the_transport(error):
            return SourceUnavailable("the server broke off or answered with an error")
        return ToolFailed(error.message)

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(self._http_client())
            transport = streamable_http_client(self._url, http_client=http, max_sse_event_size=MAX_ANSWER_BYTES)
            client = await stack.enter_async_context(
                Client(
                    transport,
                    read_timeout_seconds=LIST_SECONDS,
                    message_handler=self._noticed,
                    client_info=_CLIENT,
                    cache=None,
                )
            )
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(self._listen(client))
            self._publish(await _list(client))
            self._client = client
            self._connected.set()
            while True:
                await self._wait_for_refresh()
                self._publish(await _list(client))

    def _http_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            # Silence is bounded per call: a stream of events may be silent for as long as it likes.
            timeout=httpx2.Timeout(CONNECT_SECONDS, read=None),
            event_hooks={"request": [self._prepare], "response": [_bound]},
        )

    async def _prepare(self, request: httpx2.Request) -> None:
        request.headers.update(_trace.get())
        request.headers.update(self._headers.read())

    async def _noticed(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._refresh.set()

    async def _listen(self, client: Client) -> None:
        """Hear of changes where the protocol has a subscription; without one the interval has to do."""
        try:
            async with client.listen(tools_list_changed=True) as subscription:
                async for _ in subscription:
                    self._refresh.set()
        except (ListenNotSupportedError, MCPError, TimeoutError):
            return
        except SubscriptionLost:
            self._refresh.set()

    async def _wait_for_refresh(self) -> None:
        try:
            async with asyncio.timeout(self._refresh_seconds):
                await self._refresh.wait()
        except TimeoutError:
            return
        await asyncio.sleep(_SETTLING_SECONDS)
        self._refresh.clear()

    async def _pause(self, seconds: float) -> None:
        self._hurry.clear()
        self._refresh.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
            await asyncio.sleep(min(seconds, FIRST_DELAY_SECONDS / 2))
        except TimeoutError:
            return

    def _publish(self, tools: list[Tool]) -> None:
        usable = usable_tools(tools, lambda tool, cause: self._log.warning("tool is left out", tool=tool, cause=cause))
        if self._tools is not None and usable != self._tools:
            self._log.warning("tools changed while the revision runs", changed=_changed(self._tools, usable))
            self._drifted(self.name)
        elif self._tools is None:
            self._log.info("tools listed", count=len(usable))
        if usable != self._tools:
            self._tools = usable


async def _bound(response: httpx2.Response) -> None:
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        response.stream = capped(response.stream, MAX_ANSWER_BYTES)


async def _list(client: Client) -> list[Tool]:
    """Every tool of a server, page by page, bounded."""
    tools: list[Tool] = []
    cursor: str | None = None
    for _ in range(_MAX_PAGES):
        page = await client.session.list_tools(params=PaginatedRequestParams(cursor=cursor))
        tools += [Tool(tool.name, tool.description or tool.title or "", dict(tool.input_schema)) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor or len(tools) > MAX_TOOLS:
            break
    return tools


def _text_of(result: CallToolResult) -> str:
    parts = [_text_of_block(block) for block in result.content]
    if not parts and result.structured_content is not None:
        return orjson.dumps(result.structured_content).decode()
    return "\n".join(parts)


def _text_of_block(block: ContentBlock) -> str:
    if isinstance(block, TextContent):
        return block.text
    if isinstance(block, EmbeddedResource):
        resource = block.resource
        return resource.text if isinstance(resource, TextResourceContents) else f"[binary resource {resource.uri}]"
    if isinstance(block, ResourceLink):
        return f"[resource {block.name}: {block.uri}]"
    return f"[{block.type}: {block.mime_type}, not shown]"


def _is_of_the_transport(error: MCPError) -> bool:
    """Whether the client made the error of an HTTP status: those have no text of the server."""
    return error.message in ("Server returned an error response", "Session terminated", "Not Found")


def _changed(before: tuple[Tool, ...], after: tuple[Tool, ...]) -> list[str]:
    old, new = {tool.name: tool for tool in before}, {tool.name: tool for tool in after}
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def _cause(error: BaseException) -> str:
    """Name of what went wrong at the bottom of groups; texts are left out, for a library may quote a header."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    detail = f": {error}" if type(error).__name__ == "HeaderMissing" else ""
    return f"{type(error).__name__}{detail}"
