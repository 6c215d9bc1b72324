"""Pods of ours: which they are, how they do, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from agent_api.meta import COMPONENT_LABEL, REVISION_LABEL
from agent_api.observations import Observations
from agent_api.v1alpha1.route import Role
from agent_operator.cluster import kinds
from agent_operator.cluster.ownership import runs_for_us
from agent_operator.cluster.peers import Peer, Peers, Unreadiness, gateway_peer, is_ready, runtime_peer
from agent_operator.cluster.store import Store, version_of
from agent_operator.core import routing
from agent_operator.core.facts import RevisionHealth
from agent_operator.core.names import COMPONENT_GATEWAY
from agent_operator.core.pods import health_of
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.resources.workload import STORE_SECRET
from agent_operator.core.snapshot import Agent, StoredRoute

MAX_UNREADY_ASKED = 4
"""Pods of a revision that are asked why they are not ready: they mostly have the same reason."""


class Pods:
    """Pods that ReplicaSets of our own Deployments own, and what they answer."""

    def __init__(self, store: Store, peers: Peers) -> None:
        self._store = store
        self._peers = peers

    def of_revision(self, namespace: str, revision: str) -> list[Manifest]:
        """Runtime pods of a revision."""
        return self._labelled(namespace, REVISION_LABEL, revision)

    def of_gateways(self, namespace: str) -> list[Manifest]:
        """Gateway pods of a namespace."""
        return self._labelled(namespace, COMPONENT_LABEL, COMPONENT_GATEWAY)

    def _labelled(self, namespace: str, label: str, value: str) -> list[Manifest]:
        found = self._store.labelled(kinds.POD, namespace, label, value)
        return [pod for pod in found if runs_for_us(pod, self._store)]

    def ready_peer(self, namespace: str, revision: str) -> Peer | None:
        """Always the same pod while it is ready, as pods may read their live document at different times."""
        ready = [pod for pod in self.of_revision(namespace, revision) if is_ready(pod)]
        return runtime_peer(min(ready, key=lambda pod: str(pod["metadata"]["name"]))) if ready else None

    async def health(
        self, agent: Agent, deployments: Mapping[str, Manifest], route: StoredRoute | None
    ) -> dict[str, RevisionHealth]:
        """Health of each revision that has a Deployment; pods of those in the route are asked what they wait for."""
        awaited = set() if route is None else {entry.name for entry in route.spec.revisions}
        health = {}
        for revision, deployment in deployments.items():
            pods = self.of_revision(agent.namespace, revision)
            said = await self._unreadiness(pods) if revision in awaited else Unreadiness()
            now = datetime.now(UTC)
            health[revision] = health_of(deployment, pods, said.reason, now=now, waits_for_store=said.waits_for_store)
        return health

    async def _unreadiness(self, pods: list[Manifest]) -> Unreadiness:
        """What one of a few pods that are not ready says of why; they are asked side by side."""
        unready = [pod for pod in sorted(pods, key=version_of) if not is_ready(pod)]
        living = [pod for pod in unready if not pod["metadata"].get("deletionTimestamp")]
        asked = [(pod, peer) for pod in living if (peer := runtime_peer(pod)) is not None][:MAX_UNREADY_ASKED]
        answers = await self._peers.unreadiness([peer for _, peer in asked])
        for (pod, peer), said in zip(asked, answers, strict=True):
            if said.reason:
                return replace(said, reason=f"pod {peer.name} is not ready: {said.reason}{_secrets_wanted(pod)}")
        return Unreadiness()

    async def observations(self, agent: Agent, route: StoredRoute | None) -> tuple[tuple[Observations, ...], bool]:
        """Observations of every pod that counts for the analysis; complete if every ready one answered."""
        if route is None or routing.canary_weight(route.spec) == 0:
            return (), False
        sides = (routing.name_of(route.spec, Role.STABLE), routing.name_of(route.spec, Role.CANARY))
        runtime = [pod for side in sides if side for pod in self.of_revision(agent.namespace, side)]
        gateways = self.of_gateways(agent.namespace)
        peers = [*filter(None, map(runtime_peer, runtime)), *filter(None, map(gateway_peer, gateways))]
        ledger = route.spec.rollout.analysis
        answers = await self._peers.observations(peers, agent.name, 0 if ledger is None else ledger.read_until)
        needed = {pod["metadata"]["name"] for pod in (*runtime, *gateways) if is_ready(pod)}
        return tuple(answers.values()), needed <= answers.keys()


def _secrets_wanted(pod: Manifest) -> str:
    """Which Secrets a pod wants, so that a person sees what to create; that of the trial store is the operator's."""
    mounted = [volume["secret"] for volume in pod["spec"].get("volumes", ()) if "secret" in volume]
    sources = [source for source in mounted if source["secretName"] != STORE_SECRET]
    wanted = sorted(
        {f"{source['secretName']} (key {source['items'][0]['key']})" for source in sources if source.get("items")}
    )
    return f"; the spec names Secret {', '.join(wanted)} in this namespace" if wanted else ""
