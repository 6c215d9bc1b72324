"""List and watch of one kind in one namespace, for ever: what is deleted while the watch is down is noticed too."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any

import aiohttp
import structlog
from kubernetes.aio.client import ApiClient, ApiException

from agent_api.meta import GROUP, VERSION
from agent_gateway.metrics import Metrics
from agent_gateway.watching.endpoints import SERVICE_NAME_LABEL
from agent_gateway.watching.store import Store

_log = structlog.get_logger(__name__)

_LIST_SECONDS = 30.0
_PAGE = 500
_WATCH_SECONDS = 300
_SILENCE_SECONDS = 90.0
"""Bookmarks come about once a minute: longer silence means that the connection is dead."""
_MAX_EVENT_BYTES = 4 * 1024 * 1024
_FIRST_BACKOFF_SECONDS = 0.2
_LAST_BACKOFF_SECONDS = 4.0
_SLICE_SELECTOR = f"{SERVICE_NAME_LABEL},endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io"


class WatchLostError(Exception):
    """The API server did not answer, refused, or ended the watch with an error."""


class ExpiredError(WatchLostError):
    """The resource version is too old: only a new list helps."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What to watch and where its objects go."""

    group: str
    version: str
    plural: str
    selector: str
    put: Callable[[dict[str, Any]], None]
    drop: Callable[[str], None]
    listed: Callable[[], None]


def route_kind(store: Store) -> Kind:
    """AgentRoutes of the namespace."""
    return Kind(GROUP, VERSION, "agentroutes", "", store.put_route, store.drop_route, store.mark_routes_listed)


def slice_kind(store: Store) -> Kind:
    """EndpointSlices that Kubernetes made from Services of the namespace."""
    return Kind(
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        _SLICE_SELECTOR,
        store.put_slice,
        store.drop_slice,
        store.mark_slices_listed,
    )


class Reflector:
    """Keeps the store equal to what the API server has of one kind."""

    def __init__(self, client: ApiClient, namespace: str, kind: Kind, metrics: Metrics) -> None:
        """Wire the reflector; nothing runs before `run`."""
        self._client = client
        self._namespace = namespace
        self._kind = kind
        self._metrics = metrics
        self._known: set[str] = set()
        self._version = ""

    async def run(self) -> None:
        """List and watch for ever, with growing pauses while the API server does not answer."""
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            try:
                if not self._version:
                    await self._list()
                async for event in self._events():
                    backoff = _FIRST_BACKOFF_SECONDS
                    self._take(event)
                await asyncio.sleep(_FIRST_BACKOFF_SECONDS)
            except WatchLostError as error:
                if isinstance(error, ExpiredError):
                    self._version = ""
                self._metrics.watch_restarts.labels(self._kind.plural).inc()
                pause = backoff * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
                _log.warning("watch is lost", kind=self._kind.plural, error=str(error), pause_seconds=round(pause, 2))
                await asyncio.sleep(pause)
                backoff = min(backoff * 2, _LAST_BACKOFF_SECONDS)

    async def _list(self) -> None:
        """Take in everything there is, and drop what is there no more."""
        found: set[str] = set()
        position = ""
        while True:
            page = await self._page(position)
            for item in page["items"]:
                found.add(item["metadata"]["name"])
                self._kind.put(item)
            position = page["metadata"].get("continue", "")
            if not position:
                break
        for name in self._known - found:
            self._kind.drop(name)
        self._known = found
        self._version = page["metadata"]["resourceVersion"]
        self._kind.listed()
        _log.info("listed", kind=self._kind.plural, count=len(found))

    def _take(self, event: dict[str, Any]) -> None:
        item, change = event["object"], event["type"]
        metadata = item["metadata"]
        if change in {"ADDED", "MODIFIED"}:
            self._known.add(metadata["name"])
            self._kind.put(item)
        elif change == "DELETED":
            self._known.discard(metadata["name"])
            self._kind.drop(metadata["name"])
        self._version = metadata["resourceVersion"]

    async def _page(self, position: str) -> dict[str, Any]:
        async with _converted_errors(_LIST_SECONDS):
            response = await self._request(_LIST_SECONDS, limit=_PAGE, **{"continue": position})
            body = await response.content.read()
            _check(response.status, body.decode(errors="replace"))
            page: dict[str, Any] = json.loads(body)
        return page

    async def _events(self) -> AsyncIterator[dict[str, Any]]:
        """Events of one watch, until the server ends it."""
        total = _WATCH_SECONDS + _SILENCE_SECONDS
        async with _converted_errors(_SILENCE_SECONDS):
            response = await self._request(
                total,
                watch="true",
                allowWatchBookmarks="true",
                resourceVersion=self._version,
                timeoutSeconds=random.randint(_WATCH_SECONDS // 2, _WATCH_SECONDS),  # noqa: S311 - spreads the load
            )
        try:
            if response.status != HTTPStatus.OK:
                async with _converted_errors(_SILENCE_SECONDS):
                    _check(response.status, await response.text())
            async for line in _lines(response.content):
                yield _decode(line)
        finally:
            response.close()

    async def _request(self, seconds: float, **query: str | int) -> aiohttp.ClientResponse:
        kind = self._kind
        path = f"/apis/{kind.group}/{kind.version}/namespaces/{self._namespace}/{kind.plural}"
        given = {"labelSelector": kind.selector, **query}
        request = await self._client.param_serialize(
            "GET",
            path,
            query_params=[(key, str(value)) for key, value in given.items() if value],
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(*request, _request_timeout=aiohttp.ClientTimeout(total=seconds))
        response: aiohttp.ClientResponse = answer.response
        return response


class _converted_errors:  # noqa: N801 - used as a statement
    """Bounds a block in time and turns what the transport raises into WatchLostError."""

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            msg = "the API server is silent"
            raise WatchLostError(msg) from timeout
        if isinstance(error, (aiohttp.ClientError, OSError, ValueError, ApiException)):
            msg = f"{type(error).__name__}: {error}"
            raise WatchLostError(msg[:300]) from error


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to _MAX_EVENT_BYTES: aiohttp's own readline gives up on large events."""
    rest = b""
    while True:
        async with _converted_errors(_SILENCE_SECONDS):
            chunk = await stream.readany()
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line
        if len(rest) > _MAX_EVENT_BYTES:
            msg = "an event is too large"
            raise ExpiredError(msg)


def _decode(line: bytes) -> dict[str, Any]:
    try:
        event: dict[str, Any] = json.loads(line)
        change, item = event["type"], event["object"]
    except (ValueError, KeyError) as error:
        msg = "a line of the watch is not an event"
        raise ExpiredError(msg) from error
    if change == "ERROR":
        msg = f"the watch ended with an error: {item.get('message', '')}"
        raise ExpiredError(msg[:300])
    return event


def _check(status: int, text: str) -> None:
    if status == HTTPStatus.GONE:
        msg = "the resource version expired"
        raise ExpiredError(msg)
    if status != HTTPStatus.OK:
        msg = f"the API server answered {status}: {text[:200]}"
        raise WatchLostError(msg)
