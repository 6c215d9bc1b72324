"""Addresses and names of clusters."""

import ipaddress
import itertools
from pathlib import Path

import pytest

from devcluster.errors import DevclusterError
from devcluster.plan import MAX_CLUSTERS, make_plan, state_directory

STATE = Path("/state")
MAX_DEVICE_NAME = 15
MAX_SOCKET_PATH = 107


def ranges(index):
    plan = make_plan("c", index, 2, STATE)
    texts = (plan.pod_cidr, plan.service_cidr, plan.node_cidr, f"{plan.host_address}/30")
    return [ipaddress.IPv4Network(text, strict=False) for text in texts]


def test_no_two_clusters_share_an_address_range():
    every = [network for index in range(MAX_CLUSTERS) for network in ranges(index)]
    every.sort(key=lambda network: network.network_address)
    assert not any(one.overlaps(following) for one, following in itertools.pairwise(every))


@pytest.mark.parametrize("index", [0, 7, MAX_CLUSTERS - 1])
def test_every_address_lies_in_its_range(index):
    plan = make_plan("c", index, 2, STATE)
    services = ipaddress.ip_network(plan.service_cidr)
    assert ipaddress.ip_address(plan.api_service_address) == services[1]
    assert ipaddress.ip_address(plan.dns_service_address) in services
    for node in plan.nodes:
        assert ipaddress.ip_address(node.address) in ipaddress.ip_network(plan.node_cidr)
        assert ipaddress.ip_network(node.pod_subnet).subnet_of(ipaddress.ip_network(plan.pod_cidr))
    link = ipaddress.ip_network(f"{plan.host_address}/30", strict=False)
    assert ipaddress.ip_address(plan.link_address) in link
    assert plan.link_address != plan.host_address


def test_nodes_of_a_cluster_share_nothing():
    first, second = make_plan("c", 0, 2, STATE).nodes
    for field in ("name", "address", "netns", "pod_subnet", "directory", "run", "cgroup", "cni_network"):
        assert getattr(first, field) != getattr(second, field)


def test_names_that_extend_each_other_do_not_mix():
    shorter = make_plan("a", 0, 2, STATE).nodes
    longer = make_plan("a-node1", 0, 2, STATE).nodes
    assert not {node.cni_network for node in shorter} & {node.cni_network for node in longer}
    prefixes = tuple(f"{node.cni_network}-" for node in shorter)
    assert not any(f"{node.cni_network}-0".startswith(prefixes) for node in longer)


def test_device_and_socket_names_fit_the_kernel():
    plan = make_plan("a" * 20, MAX_CLUSTERS - 1, 2, STATE)
    assert len(plan.host_device) <= MAX_DEVICE_NAME
    assert all(len(f"{node.containerd_socket}.ttrpc") <= MAX_SOCKET_PATH for node in plan.nodes)


@pytest.mark.parametrize("name", ["", "A", "1a", "a_b", "a.b", "a/b", "..", "-a", "a-", "a" * 21])
def test_a_name_that_could_not_be_a_folder_or_device_is_refused(name):
    with pytest.raises(DevclusterError, match="cluster name"):
        make_plan(name, 0, 1, STATE)


@pytest.mark.parametrize("nodes", [0, 3])
def test_other_numbers_of_nodes_are_refused(nodes):
    with pytest.raises(DevclusterError, match="NODES"):
        make_plan("c", 0, nodes, STATE)


def test_state_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory("c") == tmp_path / "greylag" / "clusters" / "c"
