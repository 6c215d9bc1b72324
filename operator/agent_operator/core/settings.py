"""Settings of the installation that shape the objects the operator makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Installation:
    """What the chart says of images, gateways and ports."""

    runtime_image: str
    gateway_image: str
    image_pull_policy: str
    gateway_replicas: int
    gateway_template: str
    gateway_cluster_role: str
    gateway_resources: dict[str, Any]
    runtime_resources: dict[str, Any]
    first_port: int
    last_port: int
