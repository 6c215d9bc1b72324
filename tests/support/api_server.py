"""An API server on this machine, reached by the kube config that the operator would read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from agent_operator.cluster.api import Connections, connect
from benchmarks.kubernetes_api import KubernetesApi


def write_kube_config(folder: Path, address: str) -> Path:
    path = folder / "kubeconfig"
    named = {"name": "here"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{**named, "cluster": {"server": address}}],
        "users": [{**named, "user": {"token": "made-up"}}],
        "contexts": [{**named, "context": {"cluster": "here", "user": "here"}}],
        "current-context": "here",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@asynccontextmanager
async def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[KubernetesApi, Connections]]:
    """A server and the operator's connections to it."""
    server = KubernetesApi()
    path = write_kube_config(folder, await server.start())
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    connections = await connect()
    try:
        yield server, connections
    finally:
        await connections.close()
        await server.stop()
