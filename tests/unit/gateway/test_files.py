"""The configuration folder and what Envoy starts from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gateway.envoy.files import ConfigFolder
from agent_gateway.envoy.render import Layout, render_agent, render_first
from agent_gateway.envoy.render_clusters import read_endpoints, render_cluster
from agent_gateway.envoy.start import NoConfigurationError, await_configuration, command
from agent_gateway.watching.endpoints import Endpoint
from tests.unit.gateway.builders import jwt_rule, make_route, revision


def test_the_first_configuration_is_written_only_where_it_is_missing(tmp_path: Path) -> None:
    root = tmp_path / "new"
    layout = Layout(root, "127.0.0.1", 9901, 8086)
    with pytest.raises(NoConfigurationError):
        await_configuration(root, 0)
    ConfigFolder(root).prepare(render_first(layout))
    await_configuration(root, 0)
    (root / "lds.json").write_text('{"version_info": "kept", "resources": []}')
    ConfigFolder(root).prepare({**render_first(layout), "bootstrap.json": {"other": True}})
    assert json.loads((root / "lds.json").read_text())["version_info"] == "kept"
    assert "other" not in json.loads((root / "bootstrap.json").read_text())


def test_writing_is_atomic_and_skipped_when_nothing_changed(tmp_path: Path) -> None:
    folder = ConfigFolder(tmp_path)
    assert folder.write("a.json", {"x": 1})
    inode = (tmp_path / "a.json").stat().st_ino
    assert not folder.write("a.json", {"x": 1})
    assert (tmp_path / "a.json").stat().st_ino == inode
    assert folder.write("a.json", {"x": 2})
    assert (tmp_path / "a.json").stat().st_ino != inode
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_new_process_knows_the_files_of_the_last_one_and_ignores_broken_ones(tmp_path: Path) -> None:
    ConfigFolder(tmp_path).write("a.json", {"x": 1})
    (tmp_path / "b.json").write_text("{broken")
    folder = ConfigFolder(tmp_path)
    assert folder.read("a.json") == {"x": 1}
    assert folder.read("b.json") is None


@given(st.sets(st.builds(Endpoint, st.ip_addresses(v=4).map(str), st.integers(1, 65535))))
def test_endpoints_come_back_as_they_were_written(endpoints: set[Endpoint]) -> None:
    assert read_endpoints(render_cluster("a/v1", endpoints)) == endpoints


def test_access_and_description_change_neither_listener_nor_clusters(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "127.0.0.1", 9901, 8086)
    first, second = (
        render_agent(make_route(revision("v1", 100), **access), {}, layout, lease_expired=False)
        for access in ({}, {"jwt": jwt_rule(), "description": "helps"})
    )
    assert first.listener == second.listener
    assert first.clusters == second.clusters
    assert first != second


def test_the_front_door_stands_in_the_bootstrap_and_counts_no_failure(tmp_path: Path) -> None:
    (listener,) = render_first(Layout(tmp_path, "127.0.0.1", 9901, 8086))["bootstrap.json"]["static_resources"][
        "listeners"
    ]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8086}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert [log["typed_config"]["path"] for log in manager["access_log"]] == ["/dev/stdout"]
    assert not manager["stat_prefix"].startswith("agent")


def test_a_rollout_changes_neither_listener_nor_clusters(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "127.0.0.1", 9901, 8086)
    routes = [
        make_route(revision("v1", 100 - w), revision("v2", w, "Canary"), epoch=w, suspended=w > 50, stickiness=s)
        for w, s in ((10, "User"), (60, "Conversation"))
    ]
    first, second = (render_agent(route, {}, layout, lease_expired=False) for route in routes)
    assert first.listener == second.listener
    assert first.clusters == second.clusters
    assert first.host != second.host


def test_envoy_never_ejects_a_pod_for_an_agents_own_errors(tmp_path: Path) -> None:
    config = render_agent(
        make_route(revision("v1", 100)), {}, Layout(tmp_path, "127.0.0.1", 9901, 8086), lease_expired=False
    )
    assert "outlier_detection" not in config.clusters["front_door:support"]
    cluster = config.clusters["support/v1"]
    outliers = cluster["outlier_detection"]
    assert outliers["split_external_local_origin_errors"] is True
    assert {key: value for key, value in outliers.items() if key.startswith("enforcing") and value} == {
        "enforcing_consecutive_local_origin_failure": 100
    }


def test_envoy_drains_at_once_and_long(tmp_path: Path) -> None:
    arguments = command("/bin/envoy", tmp_path, 2)
    assert arguments[arguments.index("--drain-time-s") + 1] == "3600"
    assert arguments[arguments.index("--drain-strategy") + 1] == "immediate"
    assert "--disable-hot-restart" in arguments
