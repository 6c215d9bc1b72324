"""How much memory Envoy may take, from what its container may."""

from __future__ import annotations

from pathlib import Path

from agent_gateway.envoy.resources import Resource, typed

CGROUPS = Path("/sys/fs/cgroup")
_FILES = ("memory.max", "memory/memory.limit_in_bytes")
_SHARE = 0.8
"""The rest is for stacks, buffers of the kernel, and what allocators hold back."""
_UNLIMITED = 1 << 50


def heap_bytes(cgroups: Path = CGROUPS) -> int | None:
    """Most bytes of Envoy's heap; None where the container has no limit (cgroup v2 and v1)."""
    for name in _FILES:
        try:
            limit = int((cgroups / name).read_text())
        except (OSError, ValueError):
            continue
        if 0 < limit < _UNLIMITED:
            return int(limit * _SHARE)
    return None


def heap_monitor(most_bytes: int) -> Resource:
    """The monitor that the actions below look at."""
    return typed(
        "envoy.resource_monitors.fixed_heap",
        "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig",
        max_heap_size_bytes=most_bytes,
    )


def heap_actions() -> list[Resource]:
    """What is done as the heap fills: memory given back, then no new connections, then no new requests.

    Requests that run go on: each action only keeps new work away from a pod that would be killed by it.
    """
    thresholds = (
        ("envoy.overload_actions.shrink_heap", 0.85),
        ("envoy.overload_actions.disable_http_keepalive", 0.9),
        ("envoy.overload_actions.stop_accepting_connections", 0.95),
        ("envoy.overload_actions.stop_accepting_requests", 0.98),
    )
    return [
        {"name": name, "triggers": [{"name": "envoy.resource_monitors.fixed_heap", "threshold": {"value": value}}]}
        for name, value in thresholds
    ]
