"""Clients that hold conversations with an agent and note every request."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
import uuid
from collections.abc import Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import aiohttp

from demo.traffic.records import Fault, Journal, Record
from demo.traffic.script import Load, Script, write_question, write_script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REQUEST_ID_HEADER = "x-request-id"
CONVERSATION_HEADER = "x-conversation-id"
REVISION_HEADER = "x-greylag-revision"
OUTCOME_HEADER = "x-greylag-outcome"

# Below the time after which any server in between closes an idle connection: a reset then is never our own doing.
_KEEP_ALIVE_SECONDS = 8.0
_MAX_DETAIL = 160
_DNS_SECONDS = 300
_TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)


@dataclass(frozen=True, slots=True)
class _Sent:
    conversation: int
    turn: int
    turns: int
    request_id: str
    sent_id: str


class Traffic:
    """All clients of one agent. `run` holds conversations until it is cancelled or `finish` is called."""

    def __init__(self, url: str, load: Load, journal: Journal) -> None:
        self._url = f"{url.rstrip('/')}/agent/run"
        self._load = load
        self._journal = journal
        self._chance = random.Random(load.seed)  # noqa: S311 - a repeatable load, no secret
        self._numbers: Iterator[int] = itertools.count()
        self._finishing = asyncio.Event()

    def finish(self) -> None:
        """Ask nothing any more; `run` returns once what was asked is answered."""
        self._finishing.set()

    async def run(self) -> None:
        """Hold conversations; what fails is noted, and the conversation goes on."""
        async with _session(0) as fresh, asyncio.TaskGroup() as clients:
            for _ in range(self._load.clients):
                clients.create_task(self._client(fresh))

    async def _client(self, fresh: aiohttp.ClientSession) -> None:
        async with _session(_KEEP_ALIVE_SECONDS) as kept, asyncio.TaskGroup() as places:
            for _ in range(self._load.conversations):
                places.create_task(self._place(kept, fresh))

    async def _place(self, kept: aiohttp.ClientSession, fresh: aiohttp.ClientSession) -> None:
        """One conversation after the other; the first begins at a random moment, so that they do not march in step."""
        await self._wait(self._chance.uniform(0, 2 * self._load.think_max))
        while not self._finishing.is_set():
            script = write_script(self._load, self._chance)
            await self._converse(fresh if script.fresh_connection else kept, next(self._numbers), script)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._finishing.wait()
        except TimeoutError:
            return

    async def _converse(self, session: aiohttp.ClientSession, number: int, script: Script) -> None:
        held = ""
        for turn, pause in enumerate((0.0, *script.pauses), start=1):
            await self._wait(pause)
            if self._finishing.is_set():
                return
            sent = _Sent(number, turn, script.turns, uuid.uuid4().hex, held)
            record = await self._ask(session, sent, by_header=script.by_header)
            self._journal.add(record)
            held = record.received_id or held

    async def _ask(self, session: aiohttp.ClientSession, sent: _Sent, *, by_header: bool) -> Record:
        headers = {REQUEST_ID_HEADER: sent.request_id}
        body: dict[str, Any] = {"query": write_question(self._load, self._chance, sent.turn, sent.conversation)}
        if sent.sent_id and by_header:
            headers[CONVERSATION_HEADER] = sent.sent_id
        elif sent.sent_id:
            body["conversation_id"] = sent.sent_id
        start, began = time.time(), time.perf_counter()
        record = _unanswered(sent, start)
        try:
            async with session.post(self._url, json=body, headers=headers) as response:
                record = _headed(record, response)
                record = _read(record, await response.read())
        except aiohttp.ClientConnectorError as error:
            record = replace(record, fault=Fault.CONNECT, detail=_text(error))
        except TimeoutError as error:
            record = replace(record, fault=Fault.TIMEOUT, detail=_text(error))
        except (aiohttp.ClientError, OSError) as error:
            record = replace(record, fault=Fault.TRUNCATED if record.status else Fault.RESET, detail=_text(error))
        return replace(record, end=start + time.perf_counter() - began)


@asynccontextmanager
async def _session(keep_alive: float) -> AsyncIterator[aiohttp.ClientSession]:
    connector = (
        aiohttp.TCPConnector(limit=0, ttl_dns_cache=_DNS_SECONDS, keepalive_timeout=keep_alive)
        if keep_alive
        else aiohttp.TCPConnector(limit=0, ttl_dns_cache=_DNS_SECONDS, force_close=True)
    )
    async with aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT) as session:
        yield session


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_DETAIL]


def _unanswered(sent: _Sent, start: float) -> Record:
    return Record(
        conversation=sent.conversation,
        turn=sent.turn,
        turns=sent.turns,
        request_id=sent.request_id,
        start=start,
        end=start,
        status=0,
        fault=Fault.NONE,
        revision="",
        body_revision="",
        outcome="",
        sent_id=sent.sent_id,
        received_id="",
        detail="",
    )


def _headed(record: Record, response: aiohttp.ClientResponse) -> Record:
    return replace(
        record,
        status=response.status,
        revision=response.headers.get(REVISION_HEADER, ""),
        outcome=response.headers.get(OUTCOME_HEADER, ""),
        received_id=response.headers.get(CONVERSATION_HEADER, ""),
    )


def _read(record: Record, content: bytes) -> Record:
    """Record with what the body says; a body that is no JSON object is an answer cut short."""
    try:
        body = json.loads(content)
    except ValueError:
        return replace(record, fault=Fault.TRUNCATED)
    if not isinstance(body, dict):
        return replace(record, fault=Fault.TRUNCATED)
    budget = body.get("budget") or {}
    return replace(
        record,
        body_revision=str(body.get("revision", "")),
        tools=" ".join(call["outcome"] for call in body.get("tool_calls") or ()),
        cost_usd=body.get("cost_usd") or "",
        day=budget.get("day", ""),
        spent_usd=budget.get("spent_today_usd", ""),
    )
