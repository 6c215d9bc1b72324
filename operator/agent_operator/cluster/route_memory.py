"""Routes as this operator wrote them: whatever differs in the cluster was edited by hand, and is put back."""

from __future__ import annotations

from pydantic import ValidationError

from agent_api.v1alpha1.route import ALL_TRAFFIC, AgentRouteSpec, Role
from agent_operator.cluster.ownership import is_owned_by
from agent_operator.cluster.store import Key
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.snapshot import Agent, StoredRoute


class RouteMemory:
    """The last route of each agent, with the agent's uid."""

    def __init__(self) -> None:
        self._routes: dict[Key, tuple[str, AgentRouteSpec]] = {}

    def wrote(self, key: Key, uid: str, spec: AgentRouteSpec) -> None:
        """Remember a route as it was written."""
        self._routes[key] = (uid, spec)

    def forget(self, key: Key) -> None:
        """Drop what is remembered of an agent that is gone."""
        self._routes.pop(key, None)

    def read(self, agent: Agent, manifest: Manifest | None) -> StoredRoute | None:
        """The route of an agent: as it is stored, or as it was written if somebody edited or deleted it.

        One that belongs to another agent of the name, which was deleted, is absent.
        """
        key = (agent.namespace, agent.name)
        uid, known = self._routes.get(key, ("", None))
        if manifest is None or not is_owned_by(manifest, agent.uid):
            return StoredRoute("", known, intact=False) if known is not None and uid == agent.uid else None
        route_uid = manifest["metadata"]["uid"]
        stored = read_route(manifest)
        if known is None or uid != agent.uid or stored == known:
            if stored is None:
                return None
            self.wrote(key, agent.uid, stored)
            return StoredRoute(route_uid, stored)
        restored = known.model_copy(update={"serial": max(known.serial, serial_of(manifest)) + 1})
        return StoredRoute(route_uid, restored, intact=False)


def read_route(manifest: Manifest) -> AgentRouteSpec | None:
    """The route of an AgentRoute; None of one that was edited into something that routes nothing."""
    try:
        route = AgentRouteSpec.model_validate(manifest["spec"], extra="ignore")
    except ValidationError:
        return None
    roles = [entry.role for entry in route.revisions]
    sound = roles.count(Role.STABLE) == 1 and roles.count(Role.CANARY) <= 1
    return route if sound and sum(entry.weight for entry in route.revisions) == ALL_TRAFFIC else None


def serial_of(manifest: Manifest | None) -> int:
    """Serial of a stored AgentRoute, whatever else is wrong with it; 0 if there is none."""
    serial = None if manifest is None else manifest.get("spec", {}).get("serial")
    return serial if isinstance(serial, int) else 0
