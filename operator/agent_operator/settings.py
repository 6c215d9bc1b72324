"""Settings of the operator's process, from its environment (prefix GREYLAG_)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_api.acknowledgement import FRONT_DOOR_PORT, GATEWAY_CONTROL_PORT
from agent_operator.core.settings import Installation

GATEWAY_PORTS = (GATEWAY_CONTROL_PORT, FRONT_DOOR_PORT, 9901)
"""Ports of a gateway pod that no agent's listener may have; the last is Envoy's own."""


class Settings(BaseSettings):
    """What the chart tells the operator."""

    model_config = SettingsConfigDict(env_prefix="GREYLAG_", frozen=True)

    pod_name: str
    pod_namespace: str
    runtime_image: str
    gateway_image: str
    image_pull_policy: str = "IfNotPresent"
    gateway_replicas: int = Field(default=2, ge=1, le=100)
    gateway_template: str = "1"
    gateway_cluster_role: str = "greylag-gateway"
    gateway_resources: dict[str, Any] = Field(default_factory=dict)
    gateway_pod: dict[str, Any] = Field(default_factory=dict)
    runtime_resources: dict[str, Any] = Field(default_factory=dict)
    store_image: str
    store_template: str = "1"
    store_resources: dict[str, Any] = Field(default_factory=dict)
    store_pod: dict[str, Any] = Field(default_factory=dict)
    store_max_memory: str = Field(default="256mb", pattern=r"^[0-9]{1,6}(kb|mb|gb)$")
    store_size: str = Field(default="", pattern=r"^([0-9]{1,6}(\.[0-9]{1,3})?(Mi|Gi|Ti|M|G|T))?$")
    store_class: str = ""
    port_range: str = Field(default="20000-29999", pattern=r"^[0-9]{4,5}-[0-9]{4,5}$")
    watch_namespaces: str = ""
    log_level: str = "info"
    http_port: int = 8080
    workers: int = Field(default=8, ge=1, le=64)
    lease_name: str = "greylag-operator"
    lease_seconds: float = Field(default=15, ge=3)
    resync_seconds: float = Field(default=300, ge=5)

    @field_validator("port_range")
    @classmethod
    def _ports_rise(cls, text: str) -> str:
        first, last = (int(part) for part in text.split("-"))
        if not 1024 <= first < last <= 65535:  # noqa: PLR2004 - the registered and dynamic ports
            raise ValueError(f"{text!r} must rise within 1024-65535")
        taken = [port for port in GATEWAY_PORTS if first <= port <= last]
        if taken:
            raise ValueError(f"{text!r} must not hold {taken[0]}, which gateways use themselves")
        return text

    def namespaces(self) -> frozenset[str]:
        """Namespaces to care for; empty: all."""
        return frozenset(name.strip() for name in self.watch_namespaces.split(",") if name.strip())

    def installation(self) -> Installation:
        """What shapes the objects that are made."""
        first, last = (int(part) for part in self.port_range.split("-"))
        return Installation(
            runtime_image=self.runtime_image,
            gateway_image=self.gateway_image,
            image_pull_policy=self.image_pull_policy,
            gateway_replicas=self.gateway_replicas,
            gateway_template=self.gateway_template,
            gateway_cluster_role=self.gateway_cluster_role,
            gateway_resources=self.gateway_resources,
            gateway_pod=self.gateway_pod,
            runtime_resources=self.runtime_resources,
            store_image=self.store_image,
            store_template=self.store_template,
            store_resources=self.store_resources,
            store_pod=self.store_pod,
            store_max_memory=self.store_max_memory,
            store_size=self.store_size,
            store_class=self.store_class,
            first_port=first,
            last_port=last,
        )
