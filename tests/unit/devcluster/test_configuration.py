"""Configuration files and command lines."""

import json
import tarfile
import tomllib
from pathlib import Path

import pytest

from devcluster import images, nodeconfig
from devcluster.certs import certificates
from devcluster.components import all_components
from devcluster.plan import make_plan

PLAN = make_plan("c", 3, 2, Path("/state"))


@pytest.mark.parametrize(("capable", "restrict"), [(True, False), (False, True)])
def test_containerd_restricts_oom_scores_only_where_it_must(monkeypatch, capable, restrict):
    monkeypatch.setattr(nodeconfig, "has_capability", lambda _: capable)
    config = tomllib.loads(nodeconfig.containerd_config(PLAN, PLAN.nodes[0]))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is restrict
    assert cri["sandbox_image"] == nodeconfig.PAUSE_IMAGE


def test_containerds_of_a_cluster_share_no_path():
    first, second = (nodeconfig.containerd_config(PLAN, node) for node in PLAN.nodes)
    for line in first.splitlines():
        assert "/node1" not in line or line not in second
    assert "/node1" not in second


def test_kubelet_keeps_its_pods_below_its_own_cgroup():
    groups = {nodeconfig.kubelet_config(PLAN, node)["cgroupRoot"] for node in PLAN.nodes}
    assert groups == {"/greylag.c.node1", "/greylag.c.node2"}


def test_every_program_runs_in_a_namespace_of_the_cluster():
    spaces = {f"--net=/run/netns/greylag.c.{node}" for node in ("node1", "node2")}
    for component in all_components(PLAN, Path("/bin")):
        assert component.command[0] == "nsenter"
        assert component.command[1] in spaces


def test_component_names_are_unique():
    names = [component.name for component in all_components(PLAN, Path("/bin"))]
    assert len(names) == len(set(names))


def test_only_the_administrator_and_the_api_server_are_masters():
    masters = {item.name for item in certificates(PLAN) if item.organization == "system:masters"}
    assert masters == {"admin", "apiserver-kubelet-client"}


def test_server_certificate_answers_to_every_address_of_the_api_server():
    server = next(item for item in certificates(PLAN) if item.sans)
    for address in ("172.30.3.1", "172.31.3.2", "10.203.0.1", "127.0.0.1"):
        assert f"IP:{address}" in server.sans
    assert "DNS:kubernetes.default.svc.cluster.local" in server.sans


def test_image_archive_names_its_image_and_layer(monkeypatch, tmp_path):
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"program")
    monkeypatch.setattr(images, "BUSYBOX", busybox)
    images.write_busybox_image(tmp_path / "a.tar", "localhost/a:1", ["/bin/sleep", "1"])
    with tarfile.open(tmp_path / "a.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        config = json.load(archive.extractfile(manifest["Config"]))
        with tarfile.open(fileobj=archive.extractfile(manifest["Layers"][0])) as layer:
            assert layer.extractfile("bin/busybox").read() == b"program"
            assert layer.getmember("bin/busybox").mode == 0o755
    assert manifest["RepoTags"] == ["localhost/a:1"]
    assert config["config"]["Cmd"] == ["/bin/sleep", "1"]
