"""Carries out actions: one kind of write each, and none for what is there already."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, assert_never

from agent_api.meta import API_VERSION, format_time
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_operator.cluster import kinds
from agent_operator.cluster.api import Api
from agent_operator.cluster.errors import ConflictError, NotFoundError
from agent_operator.cluster.events import Events
from agent_operator.cluster.kinds import Kind, kind_of
from agent_operator.cluster.ownership import is_of_namespace, is_owned_by
from agent_operator.cluster.store import Key, Store
from agent_operator.core.drift import covers, fingerprint_source, projection
from agent_operator.core.facts import Note
from agent_operator.core.names import FIELD_MANAGER, SCALE_MANAGER, STATUS_MANAGER
from agent_operator.core.plan import Action, Apply, Delete, Scale, WriteRoute
from agent_operator.core.resources.agent import make_route
from agent_operator.core.resources.metadata import Manifest, make_owner
from agent_operator.core.snapshot import Agent, Problem

APPLIED_ANNOTATION = "greylag.dev/applied"
MAX_NORMALISED = 20_000


class NameTakenError(Exception):
    """An object of that name is there and is not ours; it is never adopted."""

    def __init__(self, manifest: Manifest) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self.problem = Problem(
            type="NameConflict",
            reason="NameTaken",
            message=f"{kind} {name} exists and does not belong to this agent: rename or delete it, or rename the agent",
        )
        super().__init__(self.problem.message)


class Writer:
    """Writes objects, and puts what the API server answers into the store."""

    def __init__(
        self, api: Api, store: Store, wrote_route: Callable[[Key, str, AgentRouteSpec], None], events: Events
    ) -> None:
        self._api = api
        self._events = events
        self._store = store
        self._wrote_route = wrote_route
        self._normalised: dict[str, Any] = {}

    async def perform(self, action: Action, owner: Agent | None) -> bool:
        """Carry out one action; `owner` is the agent it is for, None for objects of a namespace.

        Says whether anything was written.

        Raises
        ------
        NameTakenError
            If an object of that name belongs to somebody else.
        ConflictError
            If an AgentRoute moved on since it was read.
        """
        match action:
            case Apply():
                return await self._apply(action.manifest, owner)
            case Scale():
                await self._scale(action)
            case Delete():
                await self._delete(action.manifest)
            case WriteRoute():
                await self._write_route(action, owner)
            case _:
                assert_never(action)
        return True

    async def _apply(self, manifest: Manifest, owner: Agent | None) -> bool:
        kind = kind_of(manifest)
        namespace, name = manifest["metadata"]["namespace"], manifest["metadata"]["name"]
        wanted = _with_fingerprint(manifest)
        live = self._store.get(kind, namespace, name)
        if live is None:
            live = await self._find(kind, namespace, name)
        if live is None:
            await self._create(kind, wanted, owner)
            return True
        if not _is_ours(live, owner):
            raise NameTakenError(manifest)
        if self._in_sync(live, wanted):
            return False
        await self._bring(kind, wanted, live["metadata"]["uid"])
        return True

    async def _find(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        try:
            live = await self._api.get(kind, namespace, name)
        except NotFoundError:
            return None
        return {"apiVersion": kind.api_version, "kind": kind.kind, **live}

    async def _create(self, kind: Kind, wanted: Manifest, owner: Agent | None) -> None:
        """Unforced, so that an object that appeared meanwhile is not overwritten."""
        answer = await self._api.apply(kind, wanted, FIELD_MANAGER, force=False)
        if not _is_ours(answer, owner):
            raise NameTakenError(wanted)
        self._remember(kind, wanted, answer)

    async def _bring(self, kind: Kind, wanted: Manifest, uid: str) -> None:
        """Forced, but only on the very object that was seen."""
        exact = {**wanted, "metadata": {**wanted["metadata"], "uid": uid}}
        answer = await self._api.apply(kind, exact, FIELD_MANAGER, force=True)
        self._remember(kind, wanted, answer)

    def _remember(self, kind: Kind, wanted: Manifest, answer: Manifest) -> None:
        self._store.put(kind, answer)
        if not covers(answer, wanted):
            if len(self._normalised) >= MAX_NORMALISED:
                self._normalised.clear()
            self._normalised[_digest(wanted)] = projection(answer, wanted)

    def _in_sync(self, live: Manifest, wanted: Manifest) -> bool:
        if covers(live, wanted):
            return True
        known = self._normalised.get(_digest(wanted))
        return known is not None and projection(live, wanted) == known

    async def _scale(self, action: Scale) -> None:
        await self._api.scale(kinds.DEPLOYMENT, action.namespace, action.name, action.replicas, SCALE_MANAGER)
        live = await self._api.get(kinds.DEPLOYMENT, action.namespace, action.name)
        self._store.put(kinds.DEPLOYMENT, live)

    async def _delete(self, manifest: Manifest) -> None:
        kind = kind_of(manifest)
        try:
            await self._api.delete(kind, manifest)
        except NotFoundError:
            self._store.discard(kind, (manifest["metadata"]["namespace"], manifest["metadata"]["name"]))

    async def _write_route(self, action: WriteRoute, owner: Agent | None) -> None:
        if owner is None:
            raise ValueError("a route belongs to an agent")
        manifest = make_route(action.name, action.namespace, make_owner(owner.name, owner.uid), action.spec)
        live = self._store.get(kinds.AGENT_ROUTE, action.namespace, action.name)
        if live is None:
            answer = await self._api.create(kinds.AGENT_ROUTE, action.namespace, manifest, FIELD_MANAGER)
        elif not _is_ours(live, owner):
            raise NameTakenError(manifest)
        else:
            manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            manifest["metadata"]["uid"] = live["metadata"]["uid"]
            try:
                answer = await self._api.replace(
                    kinds.AGENT_ROUTE, action.namespace, action.name, manifest, FIELD_MANAGER
                )
            except NotFoundError as error:
                self._store.discard(kinds.AGENT_ROUTE, (action.namespace, action.name))
                raise ConflictError(str(error)) from error
        self._store.put(kinds.AGENT_ROUTE, answer)
        self._wrote_route((action.namespace, action.name), owner.uid, action.spec)

    async def report(self, agent: Agent, status: dict[str, Any]) -> bool:
        """Write the status if it says anything new; says whether it did."""
        if covers(dict(agent.status), status) and set(agent.status) <= set(status):
            return False
        manifest = {
            "apiVersion": API_VERSION,
            "kind": "AgentDeployment",
            "metadata": {"name": agent.name, "namespace": agent.namespace, "uid": agent.uid},
            "status": status,
        }
        try:
            answer = await self._api.apply(
                kinds.AGENT_DEPLOYMENT, manifest, STATUS_MANAGER, force=True, subresource="status"
            )
        except (NotFoundError, ConflictError):
            return False
        self._store.put(kinds.AGENT_DEPLOYMENT, answer)
        return True

    def announce(self, agent: Agent, note: Note, now: datetime, suffix: str) -> None:
        """Post an Event on the agent, some time soon."""
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{agent.name}.{suffix}", "namespace": agent.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": "AgentDeployment",
                "name": agent.name,
                "namespace": agent.namespace,
                "uid": agent.uid,
            },
            "type": "Warning" if note.warning else "Normal",
            "reason": note.reason,
            "message": note.message[:1024],
            "source": {"component": "greylag"},
            "firstTimestamp": format_time(now),
            "lastTimestamp": format_time(now),
            "count": 1,
        }
        self._events.post(agent.namespace, event)


def _is_ours(live: Manifest, owner: Agent | None) -> bool:
    """An agent's object is owned by its uid; a namespace's carries our label."""
    if owner is None:
        return is_of_namespace(live)
    return is_owned_by(live, owner.uid)


def _with_fingerprint(manifest: Manifest) -> Manifest:
    """Mark a manifest with its hash, so that a field we stop setting is noticed, and goes away."""
    annotations = {
        **manifest["metadata"].get("annotations", {}),
        APPLIED_ANNOTATION: _digest(fingerprint_source(manifest)),
    }
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def _digest(manifest: Manifest) -> str:
    return sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
