"""What agents of a namespace share: made with the first, pruned a while after the last, each thing apart."""

from __future__ import annotations

import pytest

from agent_operator.cluster import kinds, namespace
from agent_operator.cluster.errors import NotFoundError
from agent_operator.cluster.namespace import NamespaceGateway
from agent_operator.cluster.store import Store
from agent_operator.cluster.trial_store import TrialStore
from agent_operator.cluster.writer import Writer
from tests.support.agents import installation, minimal_spec

OWN = {"urlSecretRef": {"name": "redis", "key": "url"}}


class FakeApi:
    def __init__(self):
        self.objects = {}
        self.version = 0

    async def get(self, kind, _namespace, name):
        if (kind.kind, name) not in self.objects:
            raise NotFoundError(name)
        return self.objects[kind.kind, name]

    async def apply(self, kind, manifest, _manager, *, force):
        self.version += 1
        metadata = {**manifest["metadata"], "uid": f"u{self.version}", "resourceVersion": str(self.version)}
        self.objects[kind.kind, metadata["name"]] = {**manifest, "metadata": metadata}
        return self.objects[kind.kind, metadata["name"]]

    async def create(self, kind, _namespace, manifest, _manager):
        self.objects[kind.kind, manifest["metadata"]["name"]] = manifest
        return manifest

    async def delete(self, kind, manifest):
        del self.objects[kind.kind, manifest["metadata"]["name"]]
        raise NotFoundError("gone")


class Quiet:
    """An observer without gateway pods, and nobody to poll."""

    def gateway_pods(self, _namespace):
        return []

    def follow(self, _namespace, _peers):
        return None


class World:
    def __init__(self):
        self.api, self.store, made = FakeApi(), Store(), installation()
        writer = Writer(self.api, self.store, lambda *_route: None)
        trial = TrialStore(self.store, writer, self.api, made)
        self.gateway = NamespaceGateway(self.store, writer, Quiet(), Quiet(), trial, made)

    def agent(self, version="1", **fields):
        metadata = {"name": "support", "namespace": "ns", "resourceVersion": version}
        self.store.put(kinds.AGENT_DEPLOYMENT, {"metadata": metadata, "spec": minimal_spec(**fields)})

    def names(self, name):
        return {kind for kind, found in self.api.objects if found == name}


@pytest.fixture
def world():
    return World()


GATEWAY = {"ConfigMap", "ServiceAccount", "RoleBinding", "Deployment", "PodDisruptionBudget"}
STORE = {"ConfigMap", "Service", "Deployment", "Secret"}


async def test_the_first_agent_brings_gateway_front_door_and_trial_store(world):
    world.agent()
    await world.gateway.reconcile("ns")
    assert (world.names("greylag-gateway"), world.names("greylag-store")) == (GATEWAY, STORE)
    service = world.api.objects["Service", "greylag"]
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": 8086, "protocol": "TCP"}]


async def test_an_agent_with_a_store_of_its_own_brings_none(world):
    world.agent(store=OWN)
    assert await world.gateway.reconcile("ns") is None
    assert world.names("greylag-store") == set()


@pytest.mark.parametrize(
    ("taken", "others"),
    [(("Deployment", "greylag-gateway"), "greylag-store"), (("Service", "greylag-store"), "greylag")],
)
async def test_a_name_that_is_taken_is_told_and_holds_up_nothing_else(world, taken, others):
    world.api.objects[taken] = {"metadata": {"name": taken[1], "labels": {}}}
    world.agent()
    assert await world.gateway.reconcile("ns") is not None
    assert [problem.type for problem in world.gateway.problems("ns")] == ["NameConflict"]
    assert world.names(others)


async def test_everything_goes_a_while_after_the_last_agent(world, monkeypatch):
    world.agent()
    await world.gateway.reconcile("ns")
    world.store.discard(kinds.AGENT_DEPLOYMENT, ("ns", "support"))
    assert 0 < await world.gateway.reconcile("ns") <= namespace.PRUNE_SECONDS
    assert world.names("greylag-store") == STORE
    monkeypatch.setattr(namespace, "PRUNE_SECONDS", 0.0)
    assert await world.gateway.reconcile("ns") is None
    assert {kind for kind, _ in world.api.objects} == {"Secret"}
    assert world.gateway.problems("ns") == ()
