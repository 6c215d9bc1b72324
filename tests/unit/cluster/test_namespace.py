"""What agents of a namespace share: made with the first, pruned a while after the last, each thing apart."""

from __future__ import annotations

import json

import pytest

from agent_api.meta import MANAGED_BY, MANAGED_BY_LABEL
from agent_operator.cluster import kinds, namespace
from agent_operator.cluster.errors import NotFoundError
from agent_operator.cluster.events import Events
from agent_operator.cluster.namespace import NamespaceGateway
from agent_operator.cluster.store import Store
from agent_operator.cluster.trial_store import TrialStore
from agent_operator.cluster.writer import Writer
from agent_operator.core.resources.recorded import RECORD_ANNOTATION
from tests.support.agents import installation, minimal_spec

OWN = {"urlSecretRef": {"name": "redis", "key": "url"}}


def owner(manager, operation="Update"):
    return [{"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]


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
        before = self.objects.get((kind.kind, metadata["name"]), {})
        if kind is kinds.DEPLOYMENT:
            manifest = self._with_replicas(manifest, before, metadata)
        self.objects[kind.kind, metadata["name"]] = {**manifest, "metadata": metadata}
        return self.objects[kind.kind, metadata["name"]]

    def _with_replicas(self, manifest, before, metadata):
        """Replicas that a forced apply leaves out stay if somebody else owns them."""
        if "replicas" in manifest["spec"]:
            metadata["managedFields"] = owner("greylag", "Apply")
            return manifest
        owners = before["metadata"]["managedFields"]
        replicas = 1 if owners == owner("greylag", "Apply") else before["spec"]["replicas"]
        metadata["managedFields"] = owners
        return {**manifest, "spec": {**manifest["spec"], "replicas": replicas}}

    async def scale(self, kind, _namespace, name, replicas, manager):
        self.version += 1
        live = self.objects[kind.kind, name]
        metadata = {**live["metadata"], "managedFields": owner(manager), "resourceVersion": str(self.version)}
        self.objects[kind.kind, name] = {**live, "metadata": metadata, "spec": {**live["spec"], "replicas": replicas}}

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
        self.api, self.store = FakeApi(), Store()
        self.install()

    def install(self, **values):
        """Start an operator with these values of the chart."""
        made = installation(**values)
        writer = Writer(self.api, self.store, lambda *_route: None, Events(self.api))
        trial = TrialStore(self.store, writer, self.api, made)
        self.gateway = NamespaceGateway(self.store, writer, Quiet(), Quiet(), trial, made)

    async def scale(self, replicas, manager):
        """Scale the gateway as somebody else does; its event arrives."""
        await self.api.scale(kinds.DEPLOYMENT, "ns", "greylag-gateway", replicas, manager)
        self.store.put(kinds.DEPLOYMENT, self.api.objects["Deployment", "greylag-gateway"])

    def replicas(self):
        return self.api.objects["Deployment", "greylag-gateway"]["spec"]["replicas"]

    def agent(self, version="1", **fields):
        metadata = {"name": "support", "namespace": "ns", "resourceVersion": version}
        self.store.put(kinds.AGENT_DEPLOYMENT, {"metadata": metadata, "spec": minimal_spec(**fields)})

    def names(self, name):
        return {kind for kind, found in self.api.objects if found == name}


@pytest.fixture
def world():
    return World()


GATEWAY = {"ServiceAccount", "RoleBinding", "Deployment", "PodDisruptionBudget"}
STORE = {"Service", "Deployment", "Secret"}


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


@pytest.mark.parametrize("manager", ["kube-controller-manager", "kubectl", "kubectl-edit"])
@pytest.mark.parametrize("values", [{}, {"gateway_replicas": 3}, {"gateway_template": "2"}])
async def test_gateways_that_somebody_scaled_are_not_scaled_back(world, manager, values):
    world.agent()
    await world.gateway.reconcile("ns")
    await world.scale(6, manager)
    await world.gateway.reconcile("ns")
    assert world.replicas() == 6
    world.install(**values)
    await world.gateway.reconcile("ns")
    await world.gateway.reconcile("ns")
    assert world.replicas() == 6


async def test_another_number_in_the_chart_reaches_gateways_that_nobody_scaled(world):
    world.agent()
    await world.gateway.reconcile("ns")
    for number in (3, 1, 4):
        world.install(gateway_replicas=number)
        await world.gateway.reconcile("ns")
        assert world.replicas() == number
        await world.gateway.reconcile("ns")
        assert world.replicas() == number


async def test_a_steady_gateway_is_written_by_nobody(world):
    world.agent()
    await world.gateway.reconcile("ns")
    await world.scale(6, "kube-controller-manager")
    await world.gateway.reconcile("ns")
    before = world.api.version
    await world.gateway.reconcile("ns")
    assert world.api.version == before


async def test_a_placement_arrives_with_another_template_and_not_before(world):
    world.agent()
    await world.gateway.reconcile("ns")
    placement = {"nodeSelector": {"pool": "edge"}}

    def selectors():
        names = ("greylag-gateway", "greylag-store")
        pods = [world.api.objects["Deployment", name]["spec"]["template"]["spec"] for name in names]
        return [pod.get("nodeSelector") for pod in pods]

    world.install(gateway_pod=placement, store_pod=placement)
    await world.gateway.reconcile("ns")
    assert selectors() == [None, None]
    world.install(gateway_pod=placement, store_pod=placement, gateway_template="2", store_template="2")
    await world.gateway.reconcile("ns")
    assert selectors() == [{"pool": "edge"}, {"pool": "edge"}]


def config_map(name, template, labels=None, version="1"):
    metadata = {
        "name": name,
        "namespace": "ns",
        "uid": "u-old",
        "resourceVersion": "1",
        "labels": {MANAGED_BY_LABEL: MANAGED_BY} if labels is None else labels,
    }
    data = {"version": version, "template.json": json.dumps(template)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def recorded(text):
    return {"version": "1", "template.json": text}


def put_config_map(world, item):
    world.api.objects["ConfigMap", item["metadata"]["name"]] = item
    world.store.put(kinds.CONFIG_MAP, item)


def pod(world, name="greylag-gateway"):
    return world.api.objects["Deployment", name]["spec"]["template"]["spec"]


@pytest.mark.parametrize("name", ["greylag-gateway", "greylag-store"])
async def test_nobody_who_writes_only_a_config_map_gets_pods_made(world, name):
    world.agent()
    evil = {"spec": {"containers": [{"name": "x", "image": "evil:1"}], "volumes": [], "hostNetwork": True}}
    put_config_map(world, config_map(name, evil))
    await world.gateway.reconcile("ns")
    await world.gateway.reconcile("ns")
    assert "evil" not in json.dumps(world.api.objects["Deployment", name])


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"version": "1"},
        {"version": "1", "template.json": "[" * 100_000},
        {"version": "1", "template.json": "{}"},
    ],
)
async def test_a_config_map_of_our_name_with_nonsense_stops_nothing(world, data):
    world.agent()
    for name in ("greylag-gateway", "greylag-store"):
        put_config_map(world, {**config_map(name, {}), "data": data})
    assert await world.gateway.reconcile("ns") is not None
    assert world.gateway.problems("ns") == ()
    assert world.names("greylag-gateway") >= GATEWAY


async def test_what_an_earlier_release_recorded_and_runs_is_taken_over_and_its_config_map_goes(world):
    world.agent()
    await world.gateway.reconcile("ns")
    live = world.api.objects["Deployment", "greylag-gateway"]
    older = json.loads(json.dumps(live["spec"]["template"]))
    older["spec"]["containers"][0]["image"] = "gateway:older"
    metadata = {k: v for k, v in live["metadata"].items() if k != "annotations"} | {"resourceVersion": "900"}
    world.store.put(kinds.DEPLOYMENT, {**live, "metadata": metadata, "spec": {**live["spec"], "template": older}})
    put_config_map(world, config_map("greylag-gateway", older))
    world.api.version = 1000
    await world.gateway.reconcile("ns")
    assert pod(world)["containers"][0]["image"] == "gateway:older"
    assert ("ConfigMap", "greylag-gateway") not in world.api.objects


async def test_a_template_that_was_edited_into_nonsense_is_made_anew(world):
    world.agent()
    await world.gateway.reconcile("ns")
    live = world.api.objects["Deployment", "greylag-gateway"]
    image = pod(world)["containers"][0]["image"]
    annotations = {**live["metadata"]["annotations"], RECORD_ANNOTATION: "{"}
    metadata = {**live["metadata"], "annotations": annotations, "resourceVersion": "900"}
    world.store.put(kinds.DEPLOYMENT, {**live, "metadata": metadata})
    await world.gateway.reconcile("ns")
    assert pod(world)["containers"][0]["image"] == image
    assert json.loads(world.api.objects["Deployment", "greylag-gateway"]["metadata"]["annotations"][RECORD_ANNOTATION])
