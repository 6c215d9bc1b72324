"""Publication: files into place in an order that never names what Envoy does not have, each step confirmed.

Adding goes clusters, routes, listeners, front door; removing goes the other way. Agents share the three files, because
each file that Envoy follows takes one of the few inotify instances (128) that a node grants to a user. What Envoy
rejects is tried again agent by agent, so that one agent's failure leaves the others alone, and taken back, so that a
restart of Envoy does not find it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping

from agent_gateway.envoy.admin import EnvoyAdmin
from agent_gateway.envoy.files import ConfigFolder
from agent_gateway.envoy.render import AgentConfig
from agent_gateway.envoy.render_clusters import read_endpoints
from agent_gateway.envoy.render_front_door import Entry, read_entries, render_door_host
from agent_gateway.envoy.render_routes import render_table
from agent_gateway.envoy.resources import (
    CLUSTERS_FILE,
    FRONT_DOOR,
    LISTENERS_FILE,
    ROUTES_FILE,
    ROUTES_NAME,
    Resource,
    discovery,
)
from agent_gateway.watching.endpoints import Endpoint

_FIRST_POLL_SECONDS = 0.004
_LAST_POLL_SECONDS = 0.1

Errors = dict[str, str]


class Publisher:
    """Brings Envoy to the configurations that it is given."""

    def __init__(self, folder: ConfigFolder, admin: EnvoyAdmin, confirm_seconds: float) -> None:
        """Publish into `folder`; each step must be in force within `confirm_seconds`."""
        self._folder = folder
        self._admin = admin
        self._confirm_seconds = confirm_seconds
        self._in_force: dict[str, AgentConfig] = {}

    def in_force(self, config: AgentConfig) -> bool:
        """Whether Envoy confirmed exactly this configuration since it started."""
        return self._in_force.get(config.agent) == config

    def last_endpoints(self, cluster: str) -> frozenset[Endpoint]:
        """Endpoints that were published last for a cluster, by this process or one before it."""
        resource = self._resources(CLUSTERS_FILE).get(cluster)
        return read_endpoints(resource) if resource else frozenset()

    def distrust(self) -> None:
        """Forget what was confirmed, because Envoy restarted."""
        self._in_force.clear()

    async def publish(self, configs: Iterable[AgentConfig]) -> Errors:
        """Put configurations in force; answers the reason for each agent for which that failed.

        Raises:
            AdminUnavailableError: if Envoy does not answer; what was in force stays, the rest is to be tried again.

        """
        step = {config.agent: config for config in configs}
        errors: Errors = {}
        phases = (self._publish_clusters, self._publish_routes, self._publish_listeners, self._publish_front_door)
        for phase in phases:
            failed = await phase(step)
            step = {agent: config for agent, config in step.items() if agent not in failed}
            errors |= failed
        self._in_force.update(step)
        return errors

    async def remove_all_but(self, desired: Mapping[str, frozenset[str]]) -> None:
        """Take away agents that are no longer desired, and clusters that no agent needs any more.

        `desired` holds the clusters of each agent that stays; those that its routes in force name stay anyway.

        Raises:
            AdminUnavailableError: if Envoy does not answer; to be tried again.

        """
        for agent in set(self._in_force) - set(desired):
            del self._in_force[agent]
        await self._leave_front_door(desired)
        listeners = self._resources(LISTENERS_FILE)
        gone = {name for name in listeners if name.rpartition(":")[0] not in desired}
        self._write(LISTENERS_FILE, {name: r for name, r in listeners.items() if name not in gone})
        await self._until(gone, self._still_open)
        hosts = self._hosts()
        staying = {agent: host for agent, host in hosts.items() if agent in desired or agent == FRONT_DOOR}
        if staying != hosts:
            await self._move_routes(staying)
        needed = set().union(*desired.values(), *(clusters_of(host) for host in staying.values()))
        clusters = self._resources(CLUSTERS_FILE)
        self._write(CLUSTERS_FILE, {name: r for name, r in clusters.items() if name in needed})
        await self._until(set(clusters) - needed, self._still_active)

    async def _publish_clusters(self, step: Mapping[str, AgentConfig]) -> Errors:
        before = self._resources(CLUSTERS_FILE)
        wanted = {
            name: cluster
            for agent, config in step.items()
            for name, cluster in config.clusters.items()
            if agent not in self._in_force or self._in_force[agent].clusters.get(name) != cluster
        }
        self._write(CLUSTERS_FILE, before | wanted)
        missing = await self._until(set(wanted), lambda names: self._cluster_lags(names, wanted))
        if missing:
            kept = {name: r for name, r in (before | wanted).items() if name not in missing}
            self._write(CLUSTERS_FILE, kept | {name: r for name, r in before.items() if name in missing})
        return {
            agent: f"Envoy did not take over {', '.join(sorted(missing & set(config.clusters)))}"
            for agent, config in step.items()
            if missing & set(config.clusters)
        }

    async def _cluster_lags(self, names: set[str], wanted: Mapping[str, Resource]) -> set[str]:
        active = await self._admin.clusters() & names
        found = await self._admin.endpoints(active) if active else {}
        return {name for name in names if found.get(name) != read_endpoints(wanted[name])}

    async def _publish_routes(self, step: Mapping[str, AgentConfig]) -> Errors:
        async def move(part: Mapping[str, AgentConfig]) -> bool:
            return await self._move_routes(self._hosts() | {agent: config.host for agent, config in part.items()})

        return await _all_or_each(step, move, "Envoy rejected the routes; the last good ones stay in force")

    async def _publish_front_door(self, step: Mapping[str, AgentConfig]) -> Errors:
        """Lists an agent only when its listener is open."""

        async def move(part: Mapping[str, AgentConfig]) -> bool:
            return await self._move_entries(self._entries() | {a: config.entry for a, config in part.items()})

        return await _all_or_each(step, move, "Envoy rejected the routes of the front door")

    async def _leave_front_door(self, desired: Container[str]) -> None:
        await self._move_entries({agent: entry for agent, entry in self._entries().items() if agent in desired})

    async def _move_entries(self, entries: Mapping[str, Entry]) -> bool:
        if entries == self._entries():
            return True
        return await self._move_routes(self._hosts() | {FRONT_DOOR: render_door_host(entries.values())})

    async def _move_routes(self, hosts: Mapping[str, Resource]) -> bool:
        """Put a route table in force; if Envoy does not take it, put the last one back and answer False."""
        last = self._hosts()
        rejected = (await self._admin.routes()).rejected
        version = self._write_routes(hosts)
        if not await self._until({version}, lambda _: self._routes_lag(version, rejected)):
            return True
        self._write_routes(last)
        return False

    async def _routes_lag(self, version: str, rejected: int) -> set[str]:
        state = await self._admin.routes()
        if state.version == version:
            return set()
        if state.rejected > rejected:
            raise _RefusedError({version})
        return {version}

    async def _publish_listeners(self, step: Mapping[str, AgentConfig]) -> Errors:
        present = self._resources(LISTENERS_FILE)
        wanted = {
            config.listener_name: config.listener
            for agent, config in step.items()
            if agent not in self._in_force or self._in_force[agent].listener != config.listener
        }
        moved = {name for name in present if name.rpartition(":")[0] in step} - {c.listener_name for c in step.values()}
        self._write(LISTENERS_FILE, {name: r for name, r in present.items() if name not in moved} | wanted)
        errors: Errors = {}
        late = await self._until(set(wanted), lambda names: self._listener_lags(names, errors))
        if late:
            # Envoy tries to open a listener only when it is new: out of the file now, and in again with the next try.
            closed = late - (await self._admin.listeners()).active
            resources = self._resources(LISTENERS_FILE)
            self._write(LISTENERS_FILE, {name: r for name, r in resources.items() if name not in closed})
        return {
            agent: errors.get(config.listener_name) or "Envoy did not open the listener"
            for agent, config in step.items()
            if config.listener_name in late
        }

    async def _listener_lags(self, names: set[str], errors: Errors) -> set[str]:
        listeners = await self._admin.listeners()
        errors.clear()
        errors.update({name: reason for name, reason in listeners.errors.items() if name in names})
        lagging = (names - listeners.active) | set(errors)
        if lagging and lagging <= set(errors):
            raise _RefusedError(lagging)
        return lagging

    async def _still_open(self, names: set[str]) -> set[str]:
        return names & (await self._admin.listeners()).active

    async def _still_active(self, names: set[str]) -> set[str]:
        return names & await self._admin.clusters()

    async def _until(self, names: set[str], lagging: Callable[[set[str]], Awaitable[set[str]]]) -> set[str]:
        """Poll until nothing lags, Envoy refuses what lags, or the time is over; answers what still lags."""
        deadline, pause = time.monotonic() + self._confirm_seconds, _FIRST_POLL_SECONDS
        while names:
            try:
                names = await lagging(names)
            except _RefusedError as error:
                return error.names
            if time.monotonic() >= deadline:
                break
            if names:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_POLL_SECONDS)
        return names

    def _resources(self, name: str) -> dict[str, Resource]:
        document = self._folder.read(name) or {}
        return {resource["name"]: resource for resource in document.get("resources", ())}

    def _hosts(self) -> dict[str, Resource]:
        table = self._resources(ROUTES_FILE).get(ROUTES_NAME, {})
        return {host["name"]: host for host in table.get("virtual_hosts", ())}

    def _write(self, name: str, resources: Mapping[str, Resource]) -> None:
        if resources != self._resources(name):
            self._folder.write(name, discovery(resources[key] for key in sorted(resources)))

    def _entries(self) -> dict[str, Entry]:
        host = self._hosts().get(FRONT_DOOR)
        return read_entries(host) if host else {}

    def _write_routes(self, hosts: Mapping[str, Resource]) -> str:
        document = discovery([render_table(hosts.values())])
        self._folder.write(ROUTES_FILE, document)
        return str(document["version_info"])


async def _all_or_each(
    step: Mapping[str, AgentConfig], move: Callable[[Mapping[str, AgentConfig]], Awaitable[bool]], reason: str
) -> Errors:
    """Move all agents at once; if Envoy rejects that, one by one. Answers `reason` for each that failed."""
    if not step or await move(step):
        return {}
    return {agent: reason for agent, config in step.items() if not await move({agent: config})}


class _RefusedError(Exception):
    """What lags now will not come: Envoy refused it."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names


def clusters_of(host: Resource) -> set[str]:
    """Names of the clusters that an agent's routes send requests to."""
    found = set()
    for route in host["routes"]:
        action = route.get("route", {})
        weighted = action.get("weighted_clusters", {}).get("clusters", ())
        found |= {cluster["name"] for cluster in weighted} | ({action["cluster"]} if "cluster" in action else set())
    return found
