"""Publication: files into place in an order that never names what Envoy does not have, each step confirmed.

Adding goes endpoints, clusters, routes, listeners; removing goes the other way. One agent's failure leaves the others
alone: its last good files go back into place, so that a restart of Envoy finds them too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from agent_gateway.admin import EnvoyAdmin
from agent_gateway.endpoints import Endpoint
from agent_gateway.files import ConfigFolder
from agent_gateway.render import AgentConfig
from agent_gateway.render_clusters import read_endpoints
from agent_gateway.render_listener import STAT_PREFIX
from agent_gateway.resources import (
    CLUSTERS_FILE,
    LISTENERS_FILE,
    Resource,
    discovery,
    endpoints_file,
    routes_file,
)

_FIRST_POLL_SECONDS = 0.004
_LAST_POLL_SECONDS = 0.1


@dataclass(slots=True)
class _Step:
    """Agents that still take part in a round, and why the others do not."""

    configs: dict[str, AgentConfig]
    errors: dict[str, str] = field(default_factory=dict)

    def fail(self, agent: str, reason: str) -> None:
        del self.configs[agent]
        self.errors[agent] = reason


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
        document = self._folder.read(endpoints_file(cluster))
        return read_endpoints(document) if document else frozenset()

    def distrust(self) -> None:
        """Forget what was confirmed, because Envoy restarted."""
        self._in_force.clear()

    async def publish(self, configs: Iterable[AgentConfig]) -> dict[str, str]:
        """Put configurations in force; answers the reason for each agent for which that failed.

        Raises:
            AdminUnavailableError: if Envoy does not answer; what was in force stays, the rest is to be tried again.

        """
        step = _Step({config.agent: config for config in configs})
        await self._publish_clusters(step)
        await self._publish_routes(step)
        await self._publish_listeners(step)
        self._in_force.update(step.configs)
        return step.errors

    async def remove_all_but(self, desired: Mapping[str, frozenset[str]]) -> None:
        """Take away agents that are no longer desired, and clusters that no agent needs any more.

        `desired` holds the clusters of each agent that stays; those that its routes in force name stay anyway.

        Raises:
            AdminUnavailableError: if Envoy does not answer; to be tried again.

        """
        for agent in set(self._in_force) - set(desired):
            del self._in_force[agent]
        listeners = self._resources(LISTENERS_FILE)
        gone = {name for name in listeners if name.rpartition(":")[0] not in desired}
        self._write(LISTENERS_FILE, {n: r for n, r in listeners.items() if n not in gone})
        await self._until(gone, self._still_open)
        for name in self._folder.names("routes") - {routes_file(agent) for agent in desired}:
            self._folder.delete(name)
        needed = {name for agent, clusters in desired.items() for name in clusters | self._routed(agent)}
        present = self._resources(CLUSTERS_FILE)
        dropped = set(present) - needed
        self._write(CLUSTERS_FILE, {n: r for n, r in present.items() if n in needed})
        await self._until(dropped, self._still_active)
        for name in self._folder.names("endpoints") - {endpoints_file(cluster) for cluster in needed}:
            self._folder.delete(name)

    def _routed(self, agent: str) -> set[str]:
        routes = self._folder.read(routes_file(agent))
        return clusters_of(routes) if routes else set()

    async def _publish_clusters(self, step: _Step) -> None:
        wanted: dict[str, Resource] = {}
        for config in step.configs.values():
            wanted.update(config.clusters)
            for cluster, content in config.endpoints.items():
                self._folder.write(endpoints_file(cluster), content)
        self._write(CLUSTERS_FILE, self._resources(CLUSTERS_FILE) | wanted)
        pending = {cluster: agent for agent, config in step.configs.items() for cluster in config.clusters}
        missing = await self._until(set(pending), lambda names: self._cluster_lags(names, step))
        for agent in {pending[cluster] for cluster in missing}:
            clusters = ", ".join(sorted(c for c in missing if pending[c] == agent))
            step.fail(agent, f"Envoy did not take over the endpoints of {clusters}")

    async def _cluster_lags(self, names: set[str], step: _Step) -> set[str]:
        wanted = {
            cluster: read_endpoints(content)
            for config in step.configs.values()
            for cluster, content in config.endpoints.items()
            if cluster in names
        }
        active = await self._admin.clusters() & names
        found = await self._admin.endpoints(active) if active else {}
        return {name for name in names if found.get(name) != wanted[name]}

    async def _publish_routes(self, step: _Step) -> None:
        """Move route files; those of agents with a listener are confirmed here, the others together with it."""
        listening = (await self._admin.listeners()).active
        before = {agent: self._folder.read(routes_file(agent)) for agent in step.configs}
        rejected = await self._rejections()
        for agent, config in step.configs.items():
            self._folder.write(routes_file(agent), config.routes)
        followed = {agent for agent, config in step.configs.items() if config.listener_name in listening}
        late = await self._until(followed, lambda agents: self._route_lags(agents, step, rejected))
        for agent in late:
            self._take_back_routes(agent, before[agent])
            step.fail(agent, "Envoy rejected the routes; the last good ones stay in force")

    async def _route_lags(self, agents: set[str], step: _Step, rejected: Mapping[str, int]) -> set[str]:
        """Agents whose routes are not in force yet; a rejection ends the wait for its agent at once."""
        versions = await self._admin.route_versions()
        lagging = {a for a in agents if versions.get(a) != step.configs[a].routes["version_info"]}
        if lagging:
            now = await self._rejections()
            if all(now.get(agent, 0) > rejected.get(agent, 0) for agent in lagging):
                raise _SettledError(lagging)
        return lagging

    async def _rejections(self) -> dict[str, int]:
        stats = await self._admin.stats(rf"^http\.{STAT_PREFIX}\..*\.rds\..*\.update_rejected$")
        return {name.split(".rds.")[1].removesuffix(".update_rejected"): value for name, value in stats.items()}

    def _take_back_routes(self, agent: str, last: Resource | None) -> None:
        if last is None:
            self._folder.delete(routes_file(agent))
        else:
            self._folder.write(routes_file(agent), last)

    async def _publish_listeners(self, step: _Step) -> None:
        present = self._resources(LISTENERS_FILE)
        wanted = {config.listener_name: config.listener for config in step.configs.values()}
        own = {name for name in present if name.rpartition(":")[0] in step.configs}
        self._write(LISTENERS_FILE, {n: r for n, r in present.items() if n not in own - set(wanted)} | wanted)
        errors: dict[str, str] = {}
        rejected = await self._rejections()
        late = await self._until(set(step.configs), lambda agents: self._listener_lags(agents, step, errors, rejected))
        refused = {step.configs[agent].listener_name for agent in late}
        for agent in late:
            step.fail(agent, errors.get(agent) or "Envoy did not open the listener with the routes")
        if refused:
            # Envoy tries to open a listener only when it is new: out of the file now, and in again with the next try.
            closed = refused - (await self._admin.listeners()).active
            resources = self._resources(LISTENERS_FILE)
            self._write(LISTENERS_FILE, {name: r for name, r in resources.items() if name not in closed})

    async def _listener_lags(
        self, agents: set[str], step: _Step, errors: dict[str, str], rejected: Mapping[str, int]
    ) -> set[str]:
        listeners, versions = await self._admin.listeners(), await self._admin.route_versions()
        rejections = await self._rejections()
        lagging = set()
        for agent in agents:
            config = step.configs[agent]
            name = config.listener_name
            errors[agent] = listeners.errors.get(name, "")
            if rejections.get(agent, 0) > rejected.get(agent, 0):
                errors[agent] = "Envoy rejected the routes"
            has_routes = versions.get(agent) == config.routes["version_info"]
            if errors[agent] or name not in listeners.active or not has_routes:
                lagging.add(agent)
        if lagging and all(errors[agent] for agent in lagging):
            raise _SettledError(lagging)
        return lagging

    async def _still_open(self, names: set[str]) -> set[str]:
        return names & (await self._admin.listeners()).active

    async def _still_active(self, names: set[str]) -> set[str]:
        return names & await self._admin.clusters()

    async def _until(self, names: set[str], lagging: Callable[[set[str]], Awaitable[set[str]]]) -> set[str]:
        """Poll until nothing lags or the time is over; answers what still lags."""
        deadline, pause = time.monotonic() + self._confirm_seconds, _FIRST_POLL_SECONDS
        while names:
            try:
                names = await lagging(names)
            except _SettledError as error:
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

    def _write(self, name: str, resources: Mapping[str, Resource]) -> None:
        self._folder.write(name, discovery(resources[key] for key in sorted(resources)))


class _SettledError(Exception):
    """What lags now will not come: Envoy refused it."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names


def clusters_of(routes: Resource) -> set[str]:
    """Names of the clusters that a route file sends requests to."""
    found = set()
    for host in routes["resources"][0]["virtual_hosts"]:
        for route in host["routes"]:
            action = route.get("route", {})
            weighted = action.get("weighted_clusters", {}).get("clusters", ())
            found |= {cluster["name"] for cluster in weighted} | ({action["cluster"]} if "cluster" in action else set())
    return found
