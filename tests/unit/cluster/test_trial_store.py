"""The trial store of a namespace: when it is made, what is written, and its Secret, which is never read."""

from __future__ import annotations

import asyncio

import pytest

from agent_operator.cluster import kinds, trial_store
from agent_operator.cluster.errors import ConflictError, NotFoundError
from agent_operator.cluster.events import Events
from agent_operator.cluster.store import Store
from agent_operator.cluster.trial_store import TrialStore
from agent_operator.cluster.writer import NameTakenError, Writer
from tests.support.agents import installation, minimal_spec

OWN = {"urlSecretRef": {"name": "redis", "key": "url"}}


class FakeApi:
    """Objects by kind and name; writes are counted, and nothing but a creation touches Secrets."""

    def __init__(self):
        self.objects = {}
        self.writes = []
        self.version = 0

    def _keep(self, kind, manifest):
        self.version += 1
        key = (kind, manifest["metadata"]["name"])
        uid = self.objects.get(key, {"metadata": {"uid": f"u{self.version}"}})["metadata"]["uid"]
        metadata = {**manifest["metadata"], "uid": uid, "resourceVersion": str(self.version)}
        self.objects[key] = {**manifest, "metadata": metadata}
        return self.objects[key]

    async def get(self, kind, _namespace, name):
        assert kind is not kinds.SECRET
        if (kind, name) not in self.objects:
            raise NotFoundError(name)
        return self.objects[kind, name]

    async def apply(self, kind, manifest, _manager, *, force, subresource=None):
        assert kind is not kinds.SECRET
        self.writes.append(("apply", kind.kind))
        return self._keep(kind, manifest)

    async def create(self, kind, _namespace, manifest, _manager):
        self.writes.append(("create", kind.kind))
        if (kind, manifest["metadata"]["name"]) in self.objects:
            raise ConflictError("it exists")
        return self._keep(kind, manifest)


class World:
    def __init__(self, **fields):
        self.api, self.store = FakeApi(), Store()
        writer = Writer(self.api, self.store, lambda *_route: None, Events(self.api))
        self.trial = TrialStore(self.store, writer, self.api, installation(**fields))
        self.versions = 10_000

    def put(self, kind, manifest):
        self.versions += 1
        metadata = {**manifest["metadata"], "resourceVersion": str(self.versions)}
        self.store.put(kind, {**manifest, "metadata": metadata})

    def agent(self, name="support", **fields):
        metadata = {"name": name, "namespace": "ns", **fields.pop("metadata", {})}
        self.put(kinds.AGENT_DEPLOYMENT, {"metadata": metadata, "spec": minimal_spec(**fields)})

    def deployment(self):
        return self.store.get(kinds.DEPLOYMENT, "ns", "greylag-store")

    def becomes(self, ready):
        self.put(kinds.DEPLOYMENT, {**self.deployment(), "status": {"readyReplicas": ready}})

    @property
    def secret(self):
        return self.api.objects.get((kinds.SECRET, "greylag-store"))

    async def make(self):
        self.api.writes.clear()
        again = await self.trial.make("ns")
        return again, list(self.api.writes)


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize(
    ("agents", "wanted"),
    [
        ([], False),
        ([{}], True),
        ([{"store": OWN}], False),
        ([{"store": OWN}, {}], True),
        ([{"metadata": {"deletionTimestamp": "2030-01-01T00:00:00Z"}}], False),
    ],
)
def test_it_is_wanted_by_the_first_agent_that_names_no_store(world, agents, wanted):
    for number, fields in enumerate(agents):
        world.agent(f"a{number}", **fields)
    assert world.trial.wanted("ns") is wanted


async def test_it_stays_while_there_are_agents(world):
    world.agent()
    await world.make()
    world.agent(store=OWN)
    assert world.trial.wanted("ns")


async def test_everything_is_made_and_the_secret_last(world):
    again, writes = await world.make()
    assert writes == [
        ("apply", "Service"),
        ("apply", "Deployment"),
        ("create", "Secret"),
    ]
    assert again == trial_store.LOOK_AT_START
    assert world.secret["metadata"]["ownerReferences"][0]["uid"] == world.deployment()["metadata"]["uid"]


async def test_passwords_are_long_and_no_two_are_the_same():
    worlds = [World(), World()]
    for world in worlds:
        await world.make()
    first, second = (world.secret["stringData"]["password"] for world in worlds)
    assert first != second
    assert len(first) >= 40


async def test_a_store_that_is_ready_costs_no_request(world):
    await world.make()
    world.becomes(ready=1)
    for _ in range(3):
        assert await world.make() == (None, [])


async def test_a_new_leader_leaves_a_ready_store_alone(world):
    await world.make()
    world.becomes(ready=1)
    writer = Writer(world.api, world.store, lambda *_route: None, Events(world.api))
    world.trial = TrialStore(world.store, writer, world.api, installation())
    assert await world.make() == (None, [])


async def test_while_no_replica_is_ready_the_secret_is_tried_again_and_one_that_exists_is_kept(world):
    await world.make()
    password = world.secret["stringData"]["password"]
    again, writes = await world.make()
    assert (again, writes) == (trial_store.LOOK_AT_START, [("create", "Secret")])
    assert world.secret["stringData"]["password"] == password


async def test_a_secret_deleted_by_hand_is_made_again_when_the_store_needs_it(world):
    await world.make()
    world.becomes(ready=1)
    del world.api.objects[kinds.SECRET, "greylag-store"]
    world.becomes(ready=0)
    await world.make()
    assert world.secret is not None


async def test_beside_a_new_deployment_an_old_secret_may_still_be_collected(world, monkeypatch):
    await world.make()
    world.becomes(ready=1)
    world.store.discard(kinds.DEPLOYMENT, ("ns", "greylag-store"))
    del world.api.objects[kinds.DEPLOYMENT, "greylag-store"]
    await world.make()
    world.becomes(ready=1)
    assert (await world.make())[1] == [("create", "Secret")]
    del world.api.objects[kinds.SECRET, "greylag-store"]
    await world.make()
    assert world.secret["metadata"]["ownerReferences"][0]["uid"] == world.deployment()["metadata"]["uid"]
    assert (await world.make())[1] == []


async def test_an_old_secret_that_stays_is_not_asked_for_for_ever(world, monkeypatch):
    world.api.objects[kinds.SECRET, "greylag-store"] = {"metadata": {"name": "greylag-store"}}
    await world.make()
    world.becomes(ready=1)
    assert (await world.make())[1] == [("create", "Secret")]
    monkeypatch.setattr(trial_store, "COLLECTED_SECONDS", 0.0)
    await asyncio.sleep(0)
    assert (await world.make())[1] == []


async def test_an_object_of_somebody_else_is_told_and_left_alone(world):
    world.api.objects[kinds.SERVICE, "greylag-store"] = {"metadata": {"name": "greylag-store", "labels": {}}}
    with pytest.raises(NameTakenError, match="Service greylag-store exists"):
        await world.trial.make("ns")
    assert world.secret is None


async def test_what_there_is_is_what_is_deleted(world):
    assert world.trial.objects("ns") == []
    await world.make()
    assert [item["kind"] for item in world.trial.objects("ns")] == ["Deployment", "Service"]
