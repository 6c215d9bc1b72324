"""What the watches have seen of the namespace: the gateway's whole input."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from agent_gateway.watching.endpoints import Slice, parse_slice
from agent_gateway.watching.lease import LeaseClock
from agent_gateway.watching.routes import InvalidRouteError, Route, parse_route

_log = structlog.get_logger(__name__)


class Store:
    """Routes by agent, slices by Service, and the leases; `changed` is set with every change."""

    def __init__(self, lease: LeaseClock, clock: Callable[[], float]) -> None:
        """Start empty; `clock` is monotonic, in seconds."""
        self.changed = asyncio.Event()
        self.lease = lease
        self.routes: dict[str, Route] = {}
        self.invalid: dict[str, str] = {}
        self._slices: dict[str, dict[str, Slice]] = {}
        self._clock = clock
        self._listed: set[str] = set()

    @property
    def synced(self) -> bool:
        """Whether both kinds were listed once; before that nothing may be published."""
        return len(self._listed) == len(("routes", "slices"))

    def mark_routes_listed(self) -> None:
        """Note that every AgentRoute is known."""
        self._listed.add("routes")
        self.changed.set()

    def mark_slices_listed(self) -> None:
        """Note that every EndpointSlice is known."""
        self._listed.add("slices")
        self.changed.set()

    def put_route(self, item: dict[str, Any]) -> None:
        """Take an AgentRoute in; one that cannot be read leaves the last good one in force and is reported."""
        name = item["metadata"]["name"]
        try:
            route = parse_route(item)
        except InvalidRouteError as error:
            _log.error("route is invalid", agent=name, error=str(error))
            self.invalid[name] = str(error)
        else:
            self.invalid.pop(name, None)
            self.routes[name] = route
            self.lease.observe(route, self._clock())
        self.changed.set()

    def drop_route(self, name: str) -> None:
        """Forget an AgentRoute that is gone."""
        self.routes.pop(name, None)
        self.invalid.pop(name, None)
        self.lease.forget(name)
        self.changed.set()

    def put_slice(self, item: dict[str, Any]) -> None:
        """Take an EndpointSlice in."""
        part = parse_slice(item)
        of_service = self._slices.setdefault(part.service, {})
        if of_service.get(part.name) != part:
            of_service[part.name] = part
            self.changed.set()

    def drop_slice(self, name: str) -> None:
        """Forget an EndpointSlice that is gone."""
        for service, of_service in list(self._slices.items()):
            if of_service.pop(name, None) is not None:
                self.changed.set()
            if not of_service:
                del self._slices[service]

    def slices(self, service: str) -> tuple[Slice, ...]:
        """Slices of a Service."""
        return tuple(self._slices.get(service, {}).values())
