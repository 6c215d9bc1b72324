"""Envoy's admin interface: what is really in force."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from agent_gateway.envoy.resources import FRONT_DOOR, ROUTES_NAME, Resource
from agent_gateway.watching.endpoints import Endpoint

_TIMEOUT = aiohttp.ClientTimeout(total=5)
_NAMES_IN_FILTER = 50
_ROUTES_STATS = rf"^http\.{FRONT_DOOR}\.rds\.{ROUTES_NAME}\.(version_text|update_rejected)$"


class AdminUnavailableError(Exception):
    """Envoy does not answer: it starts, restarts or is gone."""


class RoutesState(NamedTuple):
    """Version of the route table in force, and how many tables Envoy rejected since it started."""

    version: str
    rejected: int


class Listeners(NamedTuple):
    """Names of open listeners, and the reason of each whose last update was refused."""

    active: frozenset[str]
    errors: dict[str, str]


class EnvoyAdmin:
    """Client of one Envoy's admin interface."""

    def __init__(self, port: int) -> None:
        """Talk to loopback at `port`; use as an async context manager."""
        self._base = f"http://127.0.0.1:{port}"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()

    async def live(self) -> bool:
        """Whether Envoy is LIVE now; False if it does not answer."""
        try:
            status, _ = await self._call("GET", "/ready")
        except AdminUnavailableError:
            return False
        return status == HTTPStatus.OK

    async def started(self) -> str:
        """When this Envoy read its bootstrap, to the millisecond: another value is another process."""
        document = await self._json("/config_dump", {"mask": "last_updated"})
        moments = (entry["last_updated"] for entry in document.get("configs", ()) if "last_updated" in entry)
        return str(next(moments, ""))

    async def clusters(self) -> frozenset[str]:
        """Names of active clusters; a cluster that warms is not among them."""
        entries = await self._dump("dynamic_active_clusters", mask="cluster.name")
        return frozenset(entry["cluster"]["name"] for entry in entries)

    async def endpoints(self, clusters: Iterable[str]) -> dict[str, frozenset[Endpoint]]:
        """Endpoints that these clusters use."""
        wanted = sorted(clusters)
        params = {"include_eds": ""}
        if len(wanted) <= _NAMES_IN_FILTER:
            params["name_regex"] = "|".join(re.escape(name) for name in wanted)
        entries = await self._dump("dynamic_endpoint_configs", **params)
        found = {entry["endpoint_config"]["cluster_name"]: entry["endpoint_config"] for entry in entries}
        return {name: _members(found[name]) for name in wanted if name in found}

    async def routes(self) -> RoutesState:
        """What became of the route table; by its counters, because a dump of a large table takes long."""
        document = await self._json("/stats", {"filter": _ROUTES_STATS, "format": "json"})
        values = {entry["name"].rpartition(".")[2]: entry["value"] for entry in document.get("stats", ())}
        return RoutesState(str(values.get("version_text", "")), int(values.get("update_rejected", 0)))

    async def listeners(self) -> Listeners:
        """Listeners that are open, and those that Envoy refused."""
        active, errors = set(), {}
        for entry in await self._dump("dynamic_listeners"):
            error = entry.get("error_state")
            if "active_state" in entry:
                active.add(entry["name"])
            if error:
                errors[entry.get("name") or error["failed_configuration"]["name"]] = error.get("details", "refused")
        return Listeners(frozenset(active), errors)

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose name matches."""
        document = await self._json("/stats", {"filter": pattern, "format": "json"})
        return {entry["name"]: int(entry["value"]) for entry in document.get("stats", ()) if "value" in entry}

    async def reopen_logs(self) -> None:
        """Make Envoy open its log files anew, after one was moved away."""
        await self._call("POST", "/reopen_logs")

    async def _dump(self, resource: str, **params: str) -> list[dict[str, Any]]:
        """Entries of one kind; Envoy answers 404 where it has none."""
        document = await self._json("/config_dump", {"resource": resource, **params}, absent={})
        return list(document.get("configs", ()))

    async def _json(
        self, path: str, params: Resource | None = None, *, absent: Resource | None = None
    ) -> dict[str, Any]:
        status, document = await self._call("GET", path, params)
        if status == HTTPStatus.NOT_FOUND and absent is not None:
            return absent
        if status != HTTPStatus.OK or not isinstance(document, dict):
            msg = f"{path} answered {status}"
            raise AdminUnavailableError(msg)
        return document

    async def _call(self, method: str, path: str, params: Resource | None = None) -> tuple[int, Any]:
        if self._session is None:
            msg = "the admin client is not open"
            raise RuntimeError(msg)
        try:
            async with self._session.request(method, self._base + path, params=params) as response:
                is_json = response.content_type == "application/json"
                return response.status, await response.json() if is_json else await response.text()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            msg = f"Envoy's admin interface: {type(error).__name__}"
            raise AdminUnavailableError(msg) from error


def _members(assignment: Resource) -> frozenset[Endpoint]:
    sockets = (
        member["endpoint"]["address"]["socket_address"]
        for group in assignment.get("endpoints", ())
        for member in group.get("lb_endpoints", ())
    )
    return frozenset(Endpoint(socket["address"], int(socket["port_value"])) for socket in sockets)
