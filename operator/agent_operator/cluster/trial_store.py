"""The trial store of one namespace: made with the first agent that names no store, with a password that is not kept."""

from __future__ import annotations

import asyncio
import secrets

from agent_operator.cluster import kinds
from agent_operator.cluster.api import Api
from agent_operator.cluster.errors import ConflictError
from agent_operator.cluster.store import Store, agent_of
from agent_operator.cluster.templates import forget_old_record, kept_template
from agent_operator.cluster.writer import Writer
from agent_operator.core.names import FIELD_MANAGER, TRIAL_STORE
from agent_operator.core.plan import Apply
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.resources.store import make_store_objects, make_store_secret, make_store_template
from agent_operator.core.settings import Installation

LOOK_AT_START = 5.0
COLLECTED_SECONDS = 120.0
PASSWORD_BYTES = 32
_KINDS = (kinds.DEPLOYMENT, kinds.SERVICE, kinds.PERSISTENT_VOLUME_CLAIM, kinds.CONFIG_MAP)


class TrialStore:
    """Reconciles the store of namespaces.

    The operator may create Secrets and nothing else with them. So it creates one whenever the store has no ready
    replica, and takes "it exists" for success. A Secret that exists may belong to a Deployment that was just deleted,
    and be collected with it soon: beside a new Deployment it is tried for a while longer.
    """

    def __init__(self, store: Store, writer: Writer, api: Api, installation: Installation) -> None:
        self._store = store
        self._writer = writer
        self._api = api
        self._installation = installation
        self._made: dict[str, str] = {}
        self._first_seen: dict[str, tuple[str, float]] = {}

    def wanted(self, namespace: str) -> bool:
        """Whether the store is there, or an agent of the namespace names no other."""
        agents = self._store.in_namespace(kinds.AGENT_DEPLOYMENT, namespace)
        alive = [agent for agent in agents if not agent["metadata"].get("deletionTimestamp")]
        there = self._store.get(kinds.DEPLOYMENT, namespace, TRIAL_STORE) is not None
        return bool(alive) and (there or any(not agent.get("spec", {}).get("store") for agent in alive))

    async def make(self, namespace: str) -> float | None:
        """Bring the store about; returns seconds after which to come again, or None.

        Raises
        ------
        NameTakenError
            If an object of its name belongs to somebody else.
        """
        kept = kept_template(self._store, namespace, TRIAL_STORE, self._installation.store_template)
        template = kept or make_store_template(self._installation)
        before = self._uid(namespace)
        for manifest in make_store_objects(namespace, template, self._installation):
            await self._writer.perform(Apply(manifest), None)
        await forget_old_record(self._store, self._writer, namespace, TRIAL_STORE)
        return await self._make_secret(namespace, is_new=before != self._uid(namespace))

    def objects(self, namespace: str) -> list[Manifest]:
        """What there is of the store, in the order in which it is deleted; its Secret goes with the Deployment."""
        found = [self._store.get(kind, namespace, TRIAL_STORE) for kind in _KINDS]
        return [manifest for manifest in found if manifest is not None and agent_of(manifest) is None]

    def forget(self, namespace: str) -> None:
        """Drop what is remembered of a namespace without agents."""
        self._made.pop(namespace, None)
        self._first_seen.pop(namespace, None)

    def _uid(self, namespace: str) -> str:
        deployment = self._store.get(kinds.DEPLOYMENT, namespace, TRIAL_STORE)
        return "" if deployment is None else str(deployment["metadata"]["uid"])

    async def _make_secret(self, namespace: str, *, is_new: bool) -> float | None:
        uid, ready = self._uid(namespace), self._is_ready(namespace)
        if is_new:
            self._first_seen[namespace] = (uid, asyncio.get_running_loop().time())
        if ready and (self._made.get(namespace) == uid or not self._is_young(namespace, uid)):
            return None
        secret = make_store_secret(namespace, uid, secrets.token_urlsafe(PASSWORD_BYTES))
        try:
            await self._api.create(kinds.SECRET, namespace, secret, FIELD_MANAGER)
        except ConflictError:
            return LOOK_AT_START
        self._made[namespace] = uid
        return LOOK_AT_START

    def _is_young(self, namespace: str, uid: str) -> bool:
        """Whether this process saw the Deployment being made, so lately that an older Secret may still go away."""
        known, since = self._first_seen.get(namespace, ("", 0.0))
        return known == uid and asyncio.get_running_loop().time() - since < COLLECTED_SECONDS

    def _is_ready(self, namespace: str) -> bool:
        deployment = self._store.get(kinds.DEPLOYMENT, namespace, TRIAL_STORE)
        return deployment is not None and bool(deployment.get("status", {}).get("readyReplicas"))
