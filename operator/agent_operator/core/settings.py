"""Settings of the installation that shape the objects the operator makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Installation:
    """What the chart says of images, gateways, ports and trial stores; without `store_size` those have no volume."""

    runtime_image: str
    gateway_image: str
    image_pull_policy: str
    gateway_replicas: int
    gateway_template: str
    gateway_cluster_role: str
    gateway_resources: dict[str, Any]
    gateway_pod: dict[str, Any]
    runtime_resources: dict[str, Any]
    store_image: str
    store_template: str
    store_resources: dict[str, Any]
    store_pod: dict[str, Any]
    store_max_memory: str
    store_size: str
    store_class: str
    first_port: int
    last_port: int
