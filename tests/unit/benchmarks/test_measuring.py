"""What the benchmarks on a cluster measure with."""

from __future__ import annotations

import os
import threading

import pytest

from benchmarks.acknowledgements import last_to_have
from benchmarks.audit import OPERATOR, Write
from benchmarks.create_latency import owner_of
from benchmarks.fleet import Fleet, summarise
from benchmarks.laboratory import is_healthy, make_agent, make_deployment, name_if_observed
from benchmarks.process import Watched, parse_usage, usage_of
from benchmarks.route_latency import ready_addresses
from benchmarks.sightings import Sightings
from demo.errors import DemoError
from demo.manifests import make_namespace

STAT = "7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 250 150 0 0 20 0 1 0 100 0 0"
WRITE = Write(OPERATOR, "patch", "services", "team", "support", 201, 1.0, {})


def agent(generation=2, **status):
    return {"metadata": {"name": "support", "generation": generation}, "status": status}


class FakeApi:
    """A list with one object, and events that come when the test says so."""

    def __init__(self, *events, failure=None):
        self.events = events
        self.failure = failure
        self.go = threading.Event()

    def get(self, path):
        return {"items": [{"metadata": {"name": "first"}}], "metadata": {"resourceVersion": "7"}}

    def watch(self, path, version, seconds):
        assert version == "7"
        self.go.wait(5)
        yield from self.events
        if self.failure:
            raise self.failure
        self.go.clear()
        self.go.wait(5)


def event(name):
    return {"type": "ADDED", "object": {"metadata": {"name": name}}}


def see(item):
    name = item["metadata"]["name"]
    return None if name == "unwanted" else name


def test_memory_and_cpu_are_counted_behind_a_name_that_holds_anything():
    usage = parse_usage(STAT, "1000 500 0 0 0 0 0", 100, 4096)
    assert usage.cpu_seconds == 4.0
    assert usage.resident_mb == pytest.approx(2.048)


def test_a_process_that_is_gone_is_an_error_and_no_zero():
    with pytest.raises(DemoError, match="ended"):
        usage_of(2**22 + 1)


def test_a_watched_process_shows_what_it_used_since():
    with Watched(os.getpid()) as watched:
        sum(range(3_000_000))
    figures = watched.figures("self")
    assert figures["selfRssMaxMb"] >= figures["selfRssBeforeMb"] > 1
    assert figures["selfCpuSeconds"] < 60


def test_what_is_there_and_what_comes_is_seen_once_it_is_wanted():
    api = FakeApi(event("unwanted"), event("second"))
    with Sightings(api, "/things", see) as seen:
        api.go.set()
        times = seen.await_all({"first", "second"}, 5)
    assert times.keys() == {"first", "second"}
    assert times["first"] <= times["second"]


def test_objects_that_do_not_come_are_counted_in_the_reason():
    with Sightings(FakeApi(), "/things", see) as seen, pytest.raises(DemoError, match="1 of 2 not as wanted"):
        seen.await_all({"first", "second"}, 0.01)


def test_most_that_came_in_time_are_answered_if_some_did_not():
    with Sightings(FakeApi(), "/things", see) as seen:
        assert seen.await_most({"first", "second"}, 0.01).keys() == {"first"}


def test_a_broken_watch_ends_the_wait_with_its_reason():
    api = FakeApi(failure=DemoError("connection lost"))
    with Sightings(api, "/things", see) as seen:
        api.go.set()
        with pytest.raises(DemoError, match="connection lost"):
            seen.await_all({"second"}, 5)


@pytest.mark.parametrize(
    ("seen", "moment"), [({4: 1.0, 5: 2.0}, 2.0), ({4: 1.0, 6: 3.0}, 3.0), ({4: 1.0}, None), ({}, None)]
)
def test_a_gateway_has_a_serial_from_the_first_that_is_not_older(seen, moment):
    assert last_to_have(seen, 5) == moment


@pytest.mark.parametrize(
    ("status", "healthy"),
    [
        ({"observedGeneration": 2, "phase": "Healthy"}, True),
        ({"observedGeneration": 1, "phase": "Healthy"}, False),
        ({"observedGeneration": 2, "phase": "Progressing"}, False),
        ({}, False),
    ],
)
def test_an_agent_is_healthy_when_its_present_generation_is(status, healthy):
    assert is_healthy(agent(**status)) is healthy


def test_a_deployment_is_observed_when_its_status_is_current():
    assert name_if_observed(agent(observedGeneration=2)) == "support"
    assert name_if_observed(agent(observedGeneration=1)) is None


def test_pods_are_told_apart_by_agent_and_by_deployment():
    nowhere = make_deployment("plain-1", "team", 1, "image")["spec"]["template"]
    assert owner_of(nowhere) == "plain-1"
    assert owner_of({"metadata": {"labels": {"greylag.dev/agent": "a"}}}) == "a"
    assert owner_of({"metadata": {}}) is None


def test_an_agents_pods_are_kept_off_every_node_only_if_asked():
    assert "runtime" not in make_agent("a", "team", 0)["spec"]
    assert make_agent("a", "team", 1, {"x": "y"})["spec"]["runtime"] == {"pod": {"nodeSelector": {"x": "y"}}}


def test_the_plain_pods_pass_the_namespaces_pod_security():
    assert make_namespace("team")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pod = make_deployment("plain", "team", 0, "image")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_fleet_is_held_to_its_writes_its_errors_and_its_health():
    refused = Write(OPERATOR, "create", "agentroutes", "team", "support", 409, 1.0, {})
    outcome = summarise({"operatorRssMaxMb": 90.0}, [WRITE] * 2600 + [refused], Fleet(20.0, 1), Fleet(4.0, 0))
    assert outcome.figures["ratio"] == 5.0
    assert outcome.figures["writes patch services"] == 2600
    assert {name: (bar.value, bar.met) for name, bar in outcome.bars.items()} == {
        "agentsNotHealthy": (1, False),
        "writesPerObject": (13.01, False),
        "apiErrors": (1, False),
    }


def test_only_ready_gateways_must_have_the_route_in_force():
    def pod(name, status):
        conditions = [{"type": "Ready", "status": status, "lastTransitionTime": "then"}]
        return {"metadata": {"name": name}, "status": {"podIP": f"ip-{name}", "conditions": conditions}}

    pods = [pod("a", "True"), pod("b", "False"), {"metadata": {"name": "c"}, "status": {}}]
    assert ready_addresses(pods) == {"a": "ip-a"}
