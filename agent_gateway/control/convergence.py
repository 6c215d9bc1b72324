"""The loop that brings Envoy to what the store holds, and says what is in force."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from agent_api.acknowledgement import AppliedRoute
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_gateway.control.board import Board
from agent_gateway.control.publication import Publisher
from agent_gateway.envoy.admin import AdminUnavailableError, EnvoyAdmin
from agent_gateway.envoy.render import AgentConfig, Layout, render_agent
from agent_gateway.envoy.resources import cluster_name
from agent_gateway.metrics import Metrics
from agent_gateway.watching.endpoints import Endpoint, choose
from agent_gateway.watching.routes import Route
from agent_gateway.watching.store import Store

_log = structlog.get_logger(__name__)

_CHECK_SECONDS = 1.0
_RETRY_SECONDS = 0.1
_FIRST_BACKOFF_SECONDS = 1.0
_LAST_BACKOFF_SECONDS = 30.0
_LATCH_BACKOFF_SECONDS = 4.0
"""A refusal tried this often is that agent's trouble and keeps the pod from the Services of the others no longer."""
_MAX_ERROR = 1024


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A configuration that did not come in force."""

    config: AgentConfig
    reason: str
    retry_at: float
    backoff: float


@dataclass(frozen=True, slots=True)
class _Rendered:
    """A configuration with what it was rendered from; equal input is not rendered again."""

    source: tuple[AgentRouteSpec, tuple[frozenset[Endpoint], ...], bool]
    config: AgentConfig


class Convergence:
    """Renders what changed, publishes it, and posts acknowledgements."""

    def __init__(
        self, store: Store, publisher: Publisher, admin: EnvoyAdmin, board: Board, layout: Layout, metrics: Metrics
    ) -> None:
        """Wire the loop; nothing runs before `run`."""
        self._store = store
        self._publisher = publisher
        self._admin = admin
        self._board = board
        self._layout = layout
        self._metrics = metrics
        self._endpoints: dict[str, frozenset[Endpoint]] = {}
        self._serials: dict[str, tuple[str, int]] = {}
        self._refusals: dict[str, _Refusal] = {}
        self._started = ""
        self._rendered: dict[str, _Rendered] = {}
        self._expired: frozenset[str] = frozenset()
        self._unfinished = True
        self._latched = False

    @property
    def latched(self) -> bool:
        """Whether a first full configuration was in force once."""
        return self._latched

    async def run(self) -> None:
        """Converge for ever; ends only with an error."""
        while True:
            self._unfinished |= self._store.changed.is_set()
            self._store.changed.clear()
            pause = _CHECK_SECONDS
            if self._store.synced:
                try:
                    await self._watch_restart()
                    expired = self._store.lease.expired(time.monotonic())
                    if self._unfinished or expired != self._expired:
                        self._unfinished = True
                        await self._round(expired)
                        self._expired, self._unfinished = expired, bool(self._refusals)
                except AdminUnavailableError as error:
                    _log.warning("Envoy does not answer", error=str(error))
                    pause = _RETRY_SECONDS
            await self._wait(pause)

    async def _wait(self, pause: float) -> None:
        now = time.monotonic()
        expiry = self._store.lease.next_expiry(now)
        moments = [now + pause, *([] if expiry is None else [expiry])]
        try:
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + min(moments) - now):
                await self._store.changed.wait()
        except TimeoutError:
            pass

    async def _watch_restart(self) -> None:
        """Notice by its start time that Envoy is a new process, and confirm everything again."""
        started = await self._admin.started()
        if self._started not in ("", started):
            _log.warning("Envoy restarted")
            self._publisher.distrust()
            self._unfinished = True
        self._started = started

    async def _round(self, expired: frozenset[str]) -> None:
        now = time.monotonic()
        configs = {name: self._render(route, expired) for name, route in self._store.routes.items()}
        serials = {name: (route.uid, route.spec.serial) for name, route in self._store.routes.items()}
        due = [c for c in configs.values() if not self._publisher.in_force(c) and self._is_due(c, now)]
        if due:
            await self._publish(due)
        await self._publisher.remove_all_but(
            {name: frozenset(config.clusters) for name, config in configs.items()}
            | {name: frozenset() for name in self._store.invalid if name not in configs}
        )
        self._forget_absent(configs)
        for name, config in configs.items():
            if self._publisher.in_force(config):
                self._serials[name] = serials[name]
        self._post(serials, expired)
        self._latched = self._latched or all(r.backoff >= _LATCH_BACKOFF_SECONDS for r in self._refusals.values())

    async def _publish(self, due: list[AgentConfig]) -> None:
        begin = time.monotonic()
        errors = await self._publisher.publish(due)
        self._metrics.publication_seconds.observe(time.monotonic() - begin)
        for config in due:
            reason = errors.get(config.agent)
            if reason is None:
                self._refusals.pop(config.agent, None)
                _log.info("routing is in force", agent=config.agent, seconds=round(time.monotonic() - begin, 4))
            else:
                self._refuse(config, reason)

    def _refuse(self, config: AgentConfig, reason: str) -> None:
        last = self._refusals.get(config.agent)
        again = last is not None and last.config == config
        backoff = min(last.backoff * 2, _LAST_BACKOFF_SECONDS) if last is not None and again else _FIRST_BACKOFF_SECONDS
        self._refusals[config.agent] = _Refusal(config, reason, time.monotonic() + backoff, backoff)
        self._metrics.rejected.labels(config.agent).inc()
        _log.error("routing is not in force", agent=config.agent, reason=reason, retry_seconds=backoff)

    def _is_due(self, config: AgentConfig, now: float) -> bool:
        last = self._refusals.get(config.agent)
        return last is None or last.config != config or now >= last.retry_at

    def _render(self, route: Route, expired: frozenset[str]) -> AgentConfig:
        used = []
        for revision in route.spec.revisions:
            cluster = cluster_name(route.name, revision.name)
            last = self._endpoints.get(cluster)
            last = self._publisher.last_endpoints(cluster) if last is None else last
            self._endpoints[cluster] = choose(last, self._store.slices(revision.service))
            used.append(self._endpoints[cluster])
        source = (route.spec, tuple(used), route.name in expired)
        known = self._rendered.get(route.name)
        if known is None or known.source != source:
            config = render_agent(route, self._endpoints, self._layout, lease_expired=route.name in expired)
            known = self._rendered[route.name] = _Rendered(source, config)
        return known.config

    def _forget_absent(self, configs: dict[str, AgentConfig]) -> None:
        clusters = {cluster for config in configs.values() for cluster in config.clusters}
        self._endpoints = {name: value for name, value in self._endpoints.items() if name in clusters}
        for name in set(self._serials) - set(configs):
            self._metrics.forget_agent(name)
        self._rendered = {name: value for name, value in self._rendered.items() if name in configs}
        self._serials = {name: value for name, value in self._serials.items() if name in configs}
        self._refusals = {name: value for name, value in self._refusals.items() if name in configs}

    def _post(self, serials: dict[str, tuple[str, int]], expired: frozenset[str]) -> None:
        routes = {}
        for name in sorted({*serials, *self._store.invalid}):
            uid = serials[name][0] if name in serials else ""
            applied_uid, serial = self._serials.get(name, ("", 0))
            refusal = self._refusals.get(name)
            error = self._store.invalid.get(name, "") or (refusal.reason if refusal else "")
            routes[name] = AppliedRoute(
                uid=uid,
                serial=serial if applied_uid == uid else 0,
                lease_expired=name in expired,
                error=error[:_MAX_ERROR],
            )
            self._metrics.applied_serial.labels(name).set(routes[name].serial)
            self._metrics.lease_expired.labels(name).set(name in expired)
        self._board.post(routes)
