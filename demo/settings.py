"""What the reader chose, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from demo.errors import DemoError
from devcluster.plan import DEFAULT_NAME

CURRENT = "current"


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """Where to run: a devcluster by name, or the reader's own kube context."""

    current: bool = False
    name: str = DEFAULT_NAME
    nodes: int = 1
    registry: str = ""


@dataclass(frozen=True, slots=True)
class Provider:
    """A real provider in place of the simulated one; `key` never reaches a line, a file or an argument list."""

    key: str
    base_url: str
    stable_model: str
    better_model: str
    broken_model: str

    def __repr__(self) -> str:
        """Leave the key out."""
        return f"Provider({self.base_url}, {self.stable_model}, {self.better_model}, {self.broken_model})"


def read_cluster_choice(environment: Mapping[str, str] = os.environ) -> ClusterChoice:
    """Read CLUSTER, CLUSTER_NAME, NODES and IMAGE_REGISTRY.

    Raises:
        DemoError: a value makes no sense.
    """
    cluster = environment.get("CLUSTER") or ""
    if cluster not in {"", CURRENT}:
        raise DemoError(f"CLUSTER={cluster}: only `current` (your own kube context), or unset (the devcluster)")
    nodes = environment.get("NODES") or "1"
    if not nodes.isdigit():
        raise DemoError(f"NODES={nodes}: must be a number")
    registry = (environment.get("IMAGE_REGISTRY") or "").rstrip("/")
    if cluster == CURRENT and not registry:
        raise DemoError("CLUSTER=current needs IMAGE_REGISTRY=host/path that the cluster can pull from")
    return ClusterChoice(cluster == CURRENT, environment.get("CLUSTER_NAME") or DEFAULT_NAME, int(nodes), registry)


def read_provider(environment: Mapping[str, str] = os.environ) -> Provider | None:
    """Read the real provider; None without OPENAI_API_KEY."""
    key = environment.get("OPENAI_API_KEY") or ""
    if not key:
        return None
    model = environment.get("OPENAI_MODEL") or "gpt-4o-mini"
    return Provider(
        key=key,
        base_url=environment.get("OPENAI_BASE_URL") or "https://api.openai.com/v1",
        stable_model=model,
        better_model=environment.get("OPENAI_MODEL_V2") or model,
        broken_model=environment.get("OPENAI_MODEL_V3") or "no-such-model",
    )
