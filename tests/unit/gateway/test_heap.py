"""Envoy takes no more memory than its container may."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_gateway.envoy.heap import heap_bytes
from agent_gateway.envoy.render import Layout, render_bootstrap


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"memory.max": "536870912\n"}, 429496729),
        ({"memory.max": "max\n"}, None),
        ({"memory/memory.limit_in_bytes": "536870912\n"}, 429496729),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"memory.max": "0\n"}, None),
        ({}, None),
    ],
    ids=["cgroup v2", "v2 without a limit", "cgroup v1", "v1 without a limit", "nonsense", "no cgroups"],
)
def test_the_heap_is_a_share_of_the_containers_limit(tmp_path: Path, files: dict[str, str], most: int | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert heap_bytes(tmp_path) == most


def test_a_full_heap_keeps_new_work_away_step_by_step() -> None:
    manager = render_bootstrap(Layout(Path("/c"), "127.0.0.1", 9901, heap_bytes=1 << 28))["overload_manager"]
    assert manager["resource_monitors"][1]["typed_config"]["max_heap_size_bytes"] == 1 << 28
    thresholds = [action["triggers"][0]["threshold"]["value"] for action in manager["actions"]]
    assert thresholds == sorted(thresholds)
    assert manager["actions"][-1]["name"].endswith("stop_accepting_requests")


def test_without_a_limit_only_connections_are_bounded() -> None:
    manager = render_bootstrap(Layout(Path("/c"), "127.0.0.1", 9901))["overload_manager"]
    assert "actions" not in manager
    assert len(manager["resource_monitors"]) == 1
