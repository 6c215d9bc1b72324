"""The writer: one write for what differs, none for what is there, and nothing of others is touched."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.cluster import kinds
from agent_operator.cluster.errors import ConflictError, NotFoundError, RefusedError, ServerError
from agent_operator.cluster.events import MAX_WAITING, Events
from agent_operator.cluster.store import Store
from agent_operator.cluster.writer import APPLIED_ANNOTATION, NameTakenError, Writer
from agent_operator.core.facts import Note
from agent_operator.core.plan import Apply, Delete, Scale, WriteRoute
from agent_operator.core.snapshot import Agent
from tests.support.agents import minimal_spec
from tests.support.scene import START, stable_route

OWNER = Agent("ns", "support", "uid-1", 1, AgentDeploymentSpec.model_validate(minimal_spec()))
OURS = [{"uid": "uid-1", "kind": "AgentDeployment"}]


def service(selector="a", owners=None, name="support"):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "labels": {},
            "ownerReferences": OURS if owners is None else owners,
        },
        "spec": {"selector": {"app": selector}},
    }


class FakeApi:
    """Objects by kind and name; every write is noted and makes a new version."""

    def __init__(self):
        self.objects = {}
        self.writes = []
        self.version = 100
        self.errors = {}
        self.normalise = lambda manifest: manifest

    def _fail(self, verb):
        error = self.errors.pop(verb, None)
        if error is not None:
            raise error

    def _keep(self, kind, manifest):
        self.version += 1
        key = (kind, manifest["metadata"]["name"])
        before = self.objects.get(key, {"metadata": {"uid": f"u{self.version}"}})
        stored = copy.deepcopy(self.normalise(copy.deepcopy(manifest)))
        stored["metadata"] |= {"resourceVersion": str(self.version), "uid": before["metadata"]["uid"]}
        self.objects[key] = stored
        return copy.deepcopy(stored)

    async def get(self, kind, namespace, name):
        self._fail("get")
        if (kind, name) not in self.objects:
            raise NotFoundError(name)
        return copy.deepcopy(self.objects[kind, name])

    async def apply(self, kind, manifest, manager, *, force, subresource=None):
        self.writes.append(("apply", kind.kind, manager, force, manifest))
        self._fail("apply")
        return self._keep(kind, manifest)

    async def create(self, kind, namespace, manifest, manager):
        self.writes.append(("create", kind.kind, manager, None, manifest))
        self._fail("create")
        return self._keep(kind, manifest)

    async def replace(self, kind, namespace, name, manifest, manager):
        self.writes.append(("replace", kind.kind, manager, None, manifest))
        self._fail("replace")
        return self._keep(kind, manifest)

    async def scale(self, kind, namespace, name, replicas, manager):
        self.writes.append(("scale", kind.kind, manager, replicas, name))

    async def delete(self, kind, manifest):
        self.writes.append(("delete", kind.kind, None, None, manifest))
        self._fail("delete")
        self.objects.pop((kind, manifest["metadata"]["name"]), None)


@pytest.fixture
def api():
    return FakeApi()


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def routes():
    return []


@pytest.fixture
def writer(api, store, routes):
    return Writer(api, store, lambda *route: routes.append(route), Events(api))


async def test_an_object_that_is_not_there_is_made_without_force(writer, api, store):
    await writer.perform(Apply(service()), OWNER)
    assert [write[:4] for write in api.writes] == [("apply", "Service", "greylag", False)]
    assert store.get(kinds.SERVICE, "ns", "support")["spec"] == service()["spec"]


async def test_an_object_that_is_there_is_not_written(writer, api):
    await writer.perform(Apply(service()), OWNER)
    await writer.perform(Apply(service()), OWNER)
    assert len(api.writes) == 1


async def test_a_changed_object_is_brought_by_force_on_the_very_object_seen(writer, api, store):
    await writer.perform(Apply(service()), OWNER)
    uid = store.get(kinds.SERVICE, "ns", "support")["metadata"]["uid"]
    await writer.perform(Apply(service("b")), OWNER)
    verb, kind, _, force, manifest = api.writes[-1]
    assert (verb, kind, force, manifest["metadata"]["uid"]) == ("apply", "Service", True, uid)
    assert store.get(kinds.SERVICE, "ns", "support")["spec"]["selector"] == {"app": "b"}


async def test_an_edit_by_hand_is_put_back(writer, api, store):
    await writer.perform(Apply(service()), OWNER)
    edited = copy.deepcopy(store.get(kinds.SERVICE, "ns", "support"))
    edited["spec"]["selector"]["app"] = "hand"
    edited["metadata"]["resourceVersion"] = "999"
    api.version = 999
    store.put(kinds.SERVICE, edited)
    await writer.perform(Apply(service()), OWNER)
    assert len(api.writes) == 2


async def test_what_others_add_is_left_alone(writer, api, store):
    await writer.perform(Apply(service()), OWNER)
    added = copy.deepcopy(store.get(kinds.SERVICE, "ns", "support"))
    added["metadata"]["labels"]["team"] = "x"
    added["spec"]["clusterIP"] = "10.0.0.1"
    added["metadata"]["resourceVersion"] = "999"
    store.put(kinds.SERVICE, added)
    await writer.perform(Apply(service()), OWNER)
    assert len(api.writes) == 1


async def test_a_field_that_is_no_longer_set_is_noticed(writer, api):
    longer = service()
    longer["spec"]["sessionAffinity"] = "ClientIP"
    await writer.perform(Apply(longer), OWNER)
    await writer.perform(Apply(service()), OWNER)
    assert len(api.writes) == 2
    marks = [write[4]["metadata"]["annotations"][APPLIED_ANNOTATION] for write in api.writes]
    assert marks[0] != marks[1]


async def test_how_the_server_writes_our_values_is_no_difference(writer, api):
    def normalise(manifest):
        manifest["spec"]["selector"]["app"] = manifest["spec"]["selector"]["app"].upper()
        return manifest

    api.normalise = normalise
    for _ in range(3):
        await writer.perform(Apply(service()), OWNER)
    assert len(api.writes) == 1


@pytest.mark.parametrize("known", [True, False], ids=["in the store", "found by a read"])
async def test_an_object_of_somebody_else_is_never_adopted(writer, api, store, known):
    theirs = api._keep(kinds.SERVICE, service(owners=[{"uid": "other"}]))
    if known:
        store.put(kinds.SERVICE, theirs)
    with pytest.raises(NameTakenError, match="Service support exists and does not belong to this agent") as taken:
        await writer.perform(Apply(service("b")), OWNER)
    assert (taken.value.problem.type, taken.value.problem.reason) == ("NameConflict", "NameTaken")
    assert api.writes == []


async def test_objects_of_a_namespace_are_ours_by_their_label(writer, api):
    labelled = {**service(owners=[]), "metadata": {"name": "gw", "namespace": "ns", "labels": {}}}
    api._keep(kinds.SERVICE, labelled)
    with pytest.raises(NameTakenError):
        await writer.perform(Apply(labelled), None)
    labelled["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "greylag"
    api._keep(kinds.SERVICE, labelled)
    await writer.perform(Apply(labelled), None)
    assert len(api.writes) == 1


async def test_scaling_goes_through_scale_and_is_read_back(writer, api, store):
    api._keep(kinds.DEPLOYMENT, {"metadata": {"name": "v1", "namespace": "ns"}, "spec": {"replicas": 3}})
    await writer.perform(Scale("ns", "v1", 3), OWNER)
    assert api.writes == [("scale", "Deployment", "greylag-scale", 3, "v1")]
    assert store.get(kinds.DEPLOYMENT, "ns", "v1")["spec"]["replicas"] == 3


async def test_what_is_gone_already_is_forgotten(writer, api, store):
    await writer.perform(Apply(service()), OWNER)
    api.errors["delete"] = NotFoundError("gone")
    await writer.perform(Delete(store.get(kinds.SERVICE, "ns", "support")), OWNER)
    assert store.get(kinds.SERVICE, "ns", "support") is None


# Routes.


async def test_a_route_is_created_then_replaced_at_the_version_seen(writer, api, store, routes):
    route = stable_route()
    await writer.perform(WriteRoute("ns", "support", route), OWNER)
    version = store.get(kinds.AGENT_ROUTE, "ns", "support")["metadata"]["resourceVersion"]
    newer = route.model_copy(update={"serial": 2})
    await writer.perform(WriteRoute("ns", "support", newer), OWNER)
    assert [write[0] for write in api.writes] == ["create", "replace"]
    assert api.writes[1][4]["metadata"]["resourceVersion"] == version
    assert routes == [(("ns", "support"), "uid-1", route), (("ns", "support"), "uid-1", newer)]


@pytest.mark.parametrize(("error", "forgotten"), [(ConflictError("moved on"), False), (NotFoundError("gone"), True)])
async def test_a_route_that_moved_on_or_went_is_decided_on_again(writer, api, store, routes, error, forgotten):
    await writer.perform(WriteRoute("ns", "support", stable_route()), OWNER)
    api.errors["replace"] = error
    with pytest.raises(ConflictError):
        await writer.perform(WriteRoute("ns", "support", stable_route()), OWNER)
    assert (store.get(kinds.AGENT_ROUTE, "ns", "support") is None) is forgotten
    assert len(routes) == 1


async def test_a_route_of_another_agent_of_the_name_is_left_alone(writer, api, store):
    await writer.perform(WriteRoute("ns", "support", stable_route()), OWNER)
    writes = len(api.writes)
    with pytest.raises(NameTakenError, match="AgentRoute support exists"):
        await writer.perform(WriteRoute("ns", "support", stable_route()), replace(OWNER, uid="uid-2"))
    assert len(api.writes) == writes


async def test_a_route_without_an_agent_is_a_mistake(writer):
    with pytest.raises(ValueError, match="belongs to an agent"):
        await writer.perform(WriteRoute("ns", "support", stable_route()), None)


# Status and Events.


async def test_a_status_is_written_once(writer, api):
    status = {"phase": "Healthy", "conditions": []}
    assert await writer.report(OWNER, status)
    assert api.writes[-1][:4] == ("apply", "AgentDeployment", "greylag-status", True)
    known = Agent(OWNER.namespace, OWNER.name, OWNER.uid, 1, OWNER.spec, status=status)
    assert not await writer.report(known, status)
    assert len(api.writes) == 1


async def test_a_status_from_which_something_goes_is_written(writer):
    known = Agent("ns", "support", "uid-1", 1, OWNER.spec, status={"phase": "Healthy", "canaryRevision": "v2"})
    assert await writer.report(known, {"phase": "Healthy"})


@pytest.mark.parametrize("error", [NotFoundError("gone"), ConflictError("another uid")])
async def test_the_status_of_an_agent_that_went_is_not_missed(writer, api, error):
    api.errors["apply"] = error
    assert not await writer.report(OWNER, {"phase": "Healthy"})


@asynccontextmanager
async def posting(api):
    events = Events(api)
    task = asyncio.create_task(events.run())
    try:
        yield events
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def posted(api, count):
    async with asyncio.timeout(5):
        while len(api.writes) < count:
            await asyncio.sleep(0.001)
    return [write[4] for write in api.writes]


async def test_an_event_names_the_agent_the_cause_and_the_time(api, store):
    async with posting(api) as events:
        writer = Writer(api, store, lambda *_route: None, events)
        writer.announce(OWNER, Note(warning=True, reason="RolledBack", message="x" * 5000), START, "1a")
        writer.announce(OWNER, Note(warning=False, reason="R", message="m"), START, "1b")
        event, other = await posted(api, 2)
    assert (event["type"], event["reason"], len(event["message"])) == ("Warning", "RolledBack", 1024)
    assert event["metadata"] == {"name": "support.1a", "namespace": "ns"}
    assert event["involvedObject"]["uid"] == "uid-1"
    assert event["firstTimestamp"] == "2030-01-01T12:00:00Z"
    assert other["type"] == "Normal"


@pytest.mark.parametrize(
    "error", [RefusedError("no"), ConflictError("there"), NotFoundError("namespace ends"), ServerError("a webhook")]
)
async def test_an_event_that_is_not_taken_holds_up_no_other(api, error):
    api.errors["create"] = error
    async with posting(api) as events:
        events.post("ns", {"reason": "First"})
        events.post("ns", {"reason": "Second"})
        assert [event["reason"] for event in await posted(api, 2)] == ["First", "Second"]


async def test_events_that_nobody_takes_are_bounded(api):
    events = Events(api)
    for number in range(MAX_WAITING + 10):
        events.post("ns", {"reason": f"R{number}"})
    assert events._waiting.qsize() == MAX_WAITING
