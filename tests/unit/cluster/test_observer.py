"""The observer: what it makes of objects that are broken, edited by hand, or not ours."""

from __future__ import annotations

import pytest

from agent_api.report import RuntimeReport, StoreReport
from agent_api.v1alpha1.rollout import Stickiness
from agent_operator.cluster import kinds
from agent_operator.cluster.instructions import Source
from agent_operator.cluster.observer import Observer
from agent_operator.cluster.peers import Unreadiness
from agent_operator.cluster.reports import Reports
from agent_operator.cluster.store import Store
from agent_operator.cluster.targets import Targets
from agent_operator.core import routing
from agent_operator.core.facts import Reported
from agent_operator.core.resources.agent import make_route
from agent_operator.core.resources.metadata import make_owner
from agent_operator.core.routing import first_route
from tests.support.agents import installation, minimal_spec
from tests.support.scene import START, stable_route

KEY = ("ns", "support")


class Silent:
    """Peers and acknowledgements that say nothing, and instructions that are not there."""

    def __init__(self):
        self.reasons, self.reports, self.asked_why = {}, {}, []

    def asked(self, namespace, pods):
        return True

    def fields(self, _namespace):
        return {}

    async def unreadiness(self, peers):
        self.asked_why.append([peer.name for peer in peers])
        return [self._unreadiness(peer.name) for peer in peers]

    def _unreadiness(self, name):
        report = self.reports.get(name)
        waits = report is not None and report.store is not None and not report.store.was_reached
        return Unreadiness(self.reasons.get(name, ""), waits_for_store=waits)

    async def observations(self, peers, agent, since):
        return {}

    async def report(self, peer):
        return self.reports.get(peer.name)

    def applied(self, _namespace, _agent):
        return {}

    async def read(self, _key):
        return Source(None, float("-inf"))


class World:
    def __init__(self):
        self.store = Store()
        silent = self.peers = Silent()
        self.reports = Reports(silent, lambda _key: None)
        targets = Targets(silent, installation())
        self.observer = Observer(self.store, silent, silent, targets, self.reports, installation())
        self.version = 0

    def put(self, kind, name, owners=(), labels=None, **fields):
        self.version += 1
        metadata = {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-{name}",
            "generation": 1,
            "resourceVersion": str(self.version),
            "labels": labels or {},
            "ownerReferences": list(owners),
        }
        self.store.put(kind, {"metadata": metadata, **fields})

    def agent(self, **spec):
        self.put(kinds.AGENT_DEPLOYMENT, "support", spec=minimal_spec(**spec))

    def route(self, route, uid="uid-route", owner="uid-support"):
        self.version += 1
        manifest = make_route("support", "ns", make_owner("support", owner), route)
        manifest["metadata"] |= {"resourceVersion": str(self.version), "uid": uid}
        self.store.put(kinds.AGENT_ROUTE, manifest)

    async def snapshot(self):
        return await self.observer.observe(KEY)


@pytest.fixture
def world():
    return World()


async def test_an_agent_that_is_not_there_or_is_being_deleted_has_no_snapshot(world):
    assert await world.snapshot() is None
    world.agent()
    manifest = world.store.get(kinds.AGENT_DEPLOYMENT, *KEY)
    manifest["metadata"]["deletionTimestamp"] = "2030-01-01T00:00:00Z"
    assert await world.snapshot() is None


async def test_a_readable_spec_has_a_target_and_no_problem(world):
    world.agent()
    snapshot = await world.snapshot()
    assert snapshot.problems == ()
    assert snapshot.target.name.startswith("support-")
    assert (snapshot.free_port, snapshot.route) == (10000, None)


async def test_a_route_of_a_deleted_agent_of_the_same_name_is_absent(world):
    world.agent()
    world.route(first_route(10000, "support-dead", START), owner="uid-of-the-dead")
    snapshot = await world.snapshot()
    assert snapshot.route is None
    world.route(first_route(10000, "support-alive", START))
    assert (await world.snapshot()).route.spec.revisions[0].name == "support-alive"


async def test_a_route_that_another_object_took_the_place_of_is_remembered_and_not_read(world):
    world.agent()
    world.route(first_route(10000, "support-alive", START))
    await world.snapshot()
    world.route(first_route(10000, "support-dead", START), owner="uid-of-the-dead")
    snapshot = await world.snapshot()
    assert (snapshot.route.spec.revisions[0].name, snapshot.route.intact) == ("support-alive", False)


async def test_an_unreadable_spec_keeps_the_kill_switch_and_freezes_the_rollout(world):
    canary = {"stickiness": "User", "steps": [{"setWeight": 3}]}
    world.agent(suspend=True, replicas=7, resilience={"maxAttempts": 99}, rollout={"canary": canary})
    snapshot = await world.snapshot()
    assert snapshot.target is None
    assert snapshot.problems[0].type == "InvalidSpec"
    assert snapshot.problems[0].message.startswith("spec.resilience.maxAttempts: ")
    spec = snapshot.agent.spec
    assert (spec.suspend, spec.paused, spec.replicas) == (True, True, 7)
    assert spec.rollout.canary.stickiness is Stickiness.USER
    assert [step.set_weight for step in spec.rollout.canary.steps] == [3]


@pytest.mark.parametrize("rollout", [None, {"canary": {"steps": "all"}}, 5])
async def test_an_unreadable_rollout_is_the_default_one_and_stands_still(world, rollout):
    world.agent(rollout=rollout, replicas="many")
    spec = (await world.snapshot()).agent.spec
    assert (spec.paused, spec.suspend, spec.replicas) == (True, False, 1)


async def test_missing_instructions_are_named_with_the_way_out(world):
    reference = {"configMapKeyRef": {"name": "prompts", "key": "a.md"}}
    world.agent(agent={"instructionsFrom": reference})
    snapshot = await world.snapshot()
    assert snapshot.target is None
    assert snapshot.problems[0].message == (
        "spec.agent.instructionsFrom: ConfigMap prompts does not exist; create it in this namespace"
    )


async def test_a_route_as_it_was_written_is_intact(world):
    world.agent()
    world.route(stable_route())
    for _ in range(2):
        stored = (await world.snapshot()).route
        assert (stored.uid, stored.spec, stored.intact) == ("uid-route", stable_route(), True)


async def test_a_route_edited_by_hand_is_put_back_with_a_higher_serial(world):
    world.agent()
    world.route(stable_route())
    await world.snapshot()
    edited = stable_route().model_copy(update={"serial": 9, "suspended": True})
    world.route(edited)
    stored = (await world.snapshot()).route
    assert (stored.intact, stored.spec) == (False, stable_route().model_copy(update={"serial": 10}))


async def test_a_route_deleted_by_hand_is_known_from_memory(world):
    world.agent()
    world.route(stable_route())
    await world.snapshot()
    world.store.discard(kinds.AGENT_ROUTE, KEY)
    stored = (await world.snapshot()).route
    assert (stored.uid, stored.spec, stored.intact) == ("", stable_route(), False)
    world.observer.forget(KEY)
    assert (await world.snapshot()).route is None


async def test_a_free_port_is_one_that_no_route_of_the_namespace_has(world):
    world.agent()
    for port, name in ((10000, "a"), (10002, "b")):
        spec = routing.first_route(port, "v1", START)
        manifest = make_route(name, "ns", make_owner(name, "u"), spec)
        manifest["metadata"] |= {"resourceVersion": "1", "uid": name}
        world.store.put(kinds.AGENT_ROUTE, manifest)
    assert (await world.snapshot()).free_port == 10001


async def test_agents_observed_before_either_is_routed_are_promised_different_ports(world):
    world.agent()
    world.put(kinds.AGENT_DEPLOYMENT, "other", spec=minimal_spec())
    first = (await world.snapshot()).free_port
    second = (await world.observer.observe(("ns", "other"))).free_port
    assert first != second
    assert (await world.snapshot()).free_port == first


async def test_a_change_that_came_with_the_answer_to_our_own_write_is_noticed(world):
    world.agent()
    agent = (await world.snapshot()).agent
    assert not world.observer.moved_on(agent)
    world.version += 1
    edited = {**world.store.get(kinds.AGENT_DEPLOYMENT, *KEY)}
    edited["metadata"] = {**edited["metadata"], "generation": 2, "resourceVersion": str(world.version)}
    world.store.put(kinds.AGENT_DEPLOYMENT, edited)
    assert world.observer.moved_on(agent)


async def test_a_command_that_came_with_the_answer_to_our_own_write_is_noticed(world):
    world.agent()
    agent = (await world.snapshot()).agent
    world.version += 1
    edited = {**world.store.get(kinds.AGENT_DEPLOYMENT, *KEY)}
    annotations = {"greylag.dev/command": "abort@1"}
    edited["metadata"] = {**edited["metadata"], "annotations": annotations, "resourceVersion": str(world.version)}
    world.store.put(kinds.AGENT_DEPLOYMENT, edited)
    assert world.observer.moved_on(agent)


async def test_objects_with_our_label_that_are_not_owned_by_the_agent_do_not_count(world):
    world.agent()
    labels = {"greylag.dev/agent": "support"}
    world.put(kinds.SERVICE, "support", labels=labels)
    world.put(kinds.CONFIG_MAP, "ours", [{"uid": "uid-support"}], labels)
    live = (await world.snapshot()).live
    assert (set(live.services), set(live.records)) == (set(), {"ours"})


def pod_of(world, name, owner):
    world.put(kinds.POD, name, owner, {"app.kubernetes.io/component": "gateway"}, status={})


async def test_only_pods_of_our_own_replica_sets_are_pods_of_ours(world):
    world.put(kinds.DEPLOYMENT, "gw", spec={})
    world.put(kinds.REPLICA_SET, "rs", [{"uid": "uid-gw", "name": "gw", "controller": True}])
    world.put(kinds.REPLICA_SET, "stray", [{"uid": "uid-else", "name": "gw", "controller": True}])
    pod_of(world, "ours", [{"uid": "uid-rs", "name": "rs", "controller": True}])
    pod_of(world, "liar", [{"uid": "uid-made-up", "name": "rs", "controller": True}])
    pod_of(world, "no-controller", [{"uid": "uid-rs", "name": "rs"}])
    pod_of(world, "of-a-stray", [{"uid": "uid-stray", "name": "stray", "controller": True}])
    pod_of(world, "bare", [])
    assert [pod["metadata"]["name"] for pod in world.observer.gateway_pods("ns")] == ["ours"]


# Pods of a revision.


def revision_of(world, name="support-1", ready=True):
    labels = {"greylag.dev/agent": "support", "greylag.dev/revision": name}
    world.put(kinds.DEPLOYMENT, name, [{"uid": "uid-support"}], labels, spec={"replicas": 1}, status={})
    world.put(kinds.REPLICA_SET, f"{name}-rs", [{"uid": f"uid-{name}", "name": name, "controller": True}])
    for suffix in ("b", "a"):
        status = {
            "podIP": "10.0.0.1",
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        owner = [{"uid": f"uid-{name}-rs", "name": f"{name}-rs", "controller": True}]
        world.put(kinds.POD, f"{name}-{suffix}", owner, labels, status=status, spec={})


def report_of(**fields):
    store = StoreReport(reachable=False, **{"was_reached": False, **fields})
    return RuntimeReport(instance="p", store=store)


async def health_of_one(world, report):
    world.agent()
    world.route(stable_route("support-1"))
    revision_of(world, ready=False)
    world.peers.reasons["support-1-b"] = "the store was not reached yet"
    world.peers.reports["support-1-b"] = report
    return (await world.snapshot()).health["support-1"]


@pytest.mark.parametrize(
    ("report", "waits"),
    [
        (report_of(), True),
        (report_of(was_reached=True), False),
        (RuntimeReport(instance="p"), False),
        (None, False),
    ],
)
async def test_a_pod_that_never_reached_its_store_waits_for_it(world, report, waits):
    health = await health_of_one(world, report)
    assert health.waits_for_store is waits
    assert health.not_ready_reason == "pod support-1-b is not ready: the store was not reached yet"


async def test_one_ready_pod_of_each_routed_revision_is_asked_always_the_same(world):
    world.agent()
    world.route(stable_route("support-1"))
    revision_of(world)
    revision_of(world, "support-2")
    assert (await world.snapshot()).reported is None
    world.peers.reports["support-1-a"] = RuntimeReport(instance="support-1-a")
    await world.reports.ask_due()
    assert [report.instance for report in (await world.snapshot()).reported.latest] == ["support-1-a"]


async def test_an_agent_without_ready_pods_has_nothing_to_say(world):
    world.agent()
    world.route(stable_route("support-1"))
    revision_of(world, ready=False)
    assert (await world.snapshot()).reported == Reported()


async def test_the_live_config_map_is_no_record(world):
    world.agent()
    labels = {"greylag.dev/agent": "support", "app.kubernetes.io/component": "live"}
    world.put(kinds.CONFIG_MAP, "support-live", [{"uid": "uid-support"}], labels, data={})
    live = (await world.snapshot()).live
    assert (dict(live.records), live.config["metadata"]["name"]) == ({}, "support-live")


async def test_what_an_unreadable_spec_says_of_money_is_not_believed(world):
    world.agent(resilience={"maxAttempts": 99})
    assert not (await world.snapshot()).readable
    world.agent()
    assert (await world.snapshot()).readable


async def test_each_look_has_an_id_of_its_own(world):
    world.agent()
    assert (await world.snapshot()).nonce != (await world.snapshot()).nonce
