"""One endpoint that speaks the OpenAI protocol. Streams always, so that a silent model is noticed early."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from openai import APIStatusError

from agent_api.meta import REQUEST_ID_HEADER
from agent_runtime.core.faults import Fault, FaultKind, error_code_of, fault_of_media_type, fault_of_status
from agent_runtime.llm.broken_connection import CONNECTION_ERRORS, cause_of
from agent_runtime.llm.chunks import AnswerParts, ChunkMalformed, Delta, read_chunk
from agent_runtime.llm.client import EndpointFailed, ModelAnswer, StreamBroken
from agent_runtime.llm.credentials import CredentialMissing
from agent_runtime.llm.endpoint_connection import EndpointConnection, parts_of
from agent_runtime.llm.event_stream import EventStream
from agent_runtime.llm.quirks import quirks_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import httpx2

    from agent_api.runtime_document import EndpointDocument
    from agent_runtime.core.loop import Message, ToolSpec
    from agent_runtime.llm.client import ModelRequest
    from agent_runtime.llm.credentials import Credentials

TAIL_SECONDS = 2.0
"""How long a finished answer is held for the usage that should follow it."""

DRAIN_SECONDS = 0.1
"""How long the end of a stream is waited for, so that its connection can be used again."""

_END = b"[DONE]"
_EVENTS = "text/event-stream"
_PAGE = "text/html"


class OpenAIClient:
    """Asks one endpoint once."""

    def __init__(
        self,
        endpoint: EndpointDocument,
        position: int,
        credentials: Credentials,
        http: httpx2.AsyncClient,
        first_token: Callable[[str, float], None] = lambda _model, _seconds: None,
    ) -> None:
        self._endpoint = endpoint
        self._first_token = first_token
        self._quirks = quirks_of(endpoint.model, endpoint.base_url)
        self._position = position
        self._credentials = credentials
        self._connection = EndpointConnection(endpoint.base_url, http, endpoint.first_token_seconds)

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer the request.

        Raises
        ------
        EndpointFailed
            If there is no complete answer; of what the provider wrote, the fault carries one plain word at most.
        StreamBroken
            If a part of it had gone to `request.emit` by then, and could not be taken back.
        """
        exchange = _Exchange(request, asyncio.get_running_loop().time())
        try:
            return await self._exchange(request, exchange)
        # `from None`: what a provider writes may quote the key, and must not reach a log by way of a chained exception.
        except _Stopped as stopped:
            fault = stopped.fault
        except APIStatusError as error:
            fault = fault_of_status(error.status_code, error.response.headers, time.time(), error.code or "")
        except CredentialMissing:
            fault = Fault(FaultKind.CREDENTIAL)
        except CONNECTION_ERRORS as error:
            fault = Fault(FaultKind.CONNECTION, cause=cause_of(error))
        except (ChunkMalformed, ValueError):
            fault = Fault(FaultKind.MALFORMED)
        fault = self._told(exchange.explained(fault))
        if exchange.emitted and not request.run.take_back():
            raise StreamBroken(self._endpoint.model, fault) from None
        raise EndpointFailed(self._endpoint.model, fault) from None

    def _told(self, fault: Fault) -> Fault:
        """The fault without the provider's words if a key is among them."""
        words = f"{fault.code} {fault.cause}".lower()
        quoted = any(key.lower() in words for key in self._credentials.secrets())
        return replace(fault, code="", cause="") if quoted else fault

    async def _exchange(self, request: ModelRequest, exchange: _Exchange) -> ModelAnswer:
        parts = exchange.parts
        total_at = min(exchange.asked_at + self._endpoint.total_seconds, request.deadline)
        first_at = min(exchange.asked_at + self._endpoint.first_token_seconds, total_at)
        try:
            async with asyncio.timeout_at(first_at) as timer, aclosing(await self._open(request)) as response:
                exchange.media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                # Not the SDK's events: decoding them there costs half of a call.
                await self._follow(parts_of(response), exchange, timer, total_at, watched=request.emit is not None)
        except TimeoutError:
            if not exchange.complete:
                raise _Stopped(self._timeout_fault(parts, over=asyncio.get_running_loop().time() >= total_at)) from None
        except CONNECTION_ERRORS:
            if not exchange.complete:
                raise
        return self._answer(parts)

    async def _open(self, request: ModelRequest) -> httpx2.Response:
        # Not `chat.completions.create`: its conversions of fields cost as much as the rest of the call.
        key, content = self._credentials.key(self._position), _encoded(self.body(request))
        return await self._connection.open(
            key, content, {REQUEST_ID_HEADER: request.request_id, **request.run.trace_headers}
        )

    async def _follow(
        self,
        content: AsyncIterator[bytes],
        exchange: _Exchange,
        timer: asyncio.Timeout,
        total_at: float,
        *,
        watched: bool,
    ) -> None:
        """Read a stream to its end, and set the timer anew with every part that comes; `watched` by a caller."""
        clock = asyncio.get_running_loop().time
        async for part in content:
            if exchange.over:
                # Read out, so that the connection can be used again; what comes after the mark of its end is nothing.
                continue
            owed_at = timer.when()
            if watched:
                # While the caller reads what there is, nothing is waited for that the endpoint owes.
                timer.reschedule(total_at)
            for delta in exchange.read(part):
                if await exchange.add(delta):
                    self._first_token(self._endpoint.model, clock() - exchange.asked_at)
            timer.reschedule(min(clock() + self._patience(exchange), total_at) if exchange.begun else owed_at)

    def _patience(self, exchange: _Exchange) -> float:
        idle = self._endpoint.idle_seconds
        if exchange.over:
            return DRAIN_SECONDS
        return idle if exchange.parts.finish_reason is None else min(idle, TAIL_SECONDS)

    def _timeout_fault(self, parts: AnswerParts, *, over: bool) -> Fault:
        if over:
            return Fault(FaultKind.TOTAL_TIMEOUT)
        return Fault(FaultKind.IDLE_TIMEOUT if parts.begun else FaultKind.FIRST_TOKEN_TIMEOUT)

    def _answer(self, parts: AnswerParts) -> ModelAnswer:
        reason = parts.finish_reason
        if reason is None:
            if self._quirks.finish_reason_required or not parts.begun:
                raise _Stopped(Fault(FaultKind.CUT))
            reason = "stop"
        return ModelAnswer(parts.text, self._endpoint.model, reason, parts.usage, parts.tool_calls)

    def body(self, request: ModelRequest) -> dict[str, object]:
        """Body of the call, as the OpenAI protocol has it; what is ours wins over parameters passed through."""
        endpoint, quirks = self._endpoint, self._quirks
        body: dict[str, object] = {
            **endpoint.extra,
            "model": endpoint.model,
            "messages": [_wire_message(message) for message in request.messages],
            "stream": True,
            quirks.output_limit: endpoint.max_output_tokens,
        }
        if quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
        optional = {
            "temperature": endpoint.temperature,
            "top_p": endpoint.top_p,
            "tools": [_wire_tool(tool) for tool in request.tools] or None,
            "response_format": request.response_format,
        }
        body.update({name: value for name, value in optional.items() if value is not None})
        return body


class _Exchange:
    """What came of one call so far."""

    def __init__(self, request: ModelRequest, asked_at: float) -> None:
        self.asked_at = asked_at
        self.parts = AnswerParts()
        self.emitted = False
        self.over = False
        self.media_type = ""
        self._received = 0
        self._understood = False
        self._events = EventStream()
        self._request = request
        request.run.produced_bytes = 0

    @property
    def begun(self) -> bool:
        """Whether anything of the answer has come."""
        return self.over or self.parts.begun

    @property
    def complete(self) -> bool:
        """Whether nothing more of the answer is to come."""
        return self.over or self.parts.finish_reason is not None

    def explained(self, fault: Fault) -> Fault:
        """The fault, or that what came is no stream at all."""
        unreadable = fault.kind in (FaultKind.CUT, FaultKind.MALFORMED) and not self._understood
        if not unreadable or self.media_type in ("", _EVENTS):
            return fault
        if self.media_type != _PAGE:
            # It may be a whole answer, which is paid for although it is of no use.
            self._request.run.produced_bytes = self._received
        return fault_of_media_type(self.media_type)

    def read(self, part: bytes) -> Iterator[Delta]:
        """Deltas of the events that a part of the stream completes, up to the mark of its end."""
        self._received += len(part)
        for data in self._events.feed(part):
            if data.startswith(_END):
                self.over = True
                return
            document = orjson.loads(data)
            if isinstance(document, dict) and document.get("error"):
                raise _Stopped(Fault(FaultKind.UNAVAILABLE, code=error_code_of(document)))
            delta = read_chunk(document)
            self._understood = True
            yield delta

    async def add(self, delta: Delta) -> bool:
        """Keep a delta, and pass its text on to who waits for it; tells whether the answer begins with it."""
        waited = not self.parts.begun
        self.parts.add(delta)
        self._request.run.produced_bytes += delta.size
        if delta.text and self._request.emit is not None:
            self.emitted = True
            await self._request.emit(delta.text)
        return waited and self.parts.begun


class _Stopped(Exception):
    """The exchange ended with a fault that we found ourselves."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def _encoded(body: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        # A text with half a character: no JSON of it is possible.
        raise ChunkMalformed(str(error)) from None


def _wire_message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _wire_tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.wire_name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}
