"""What the pod tells the gateway, by environment variables with the prefix GREYLAG_."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_api.acknowledgement import FRONT_DOOR_PORT, GATEWAY_CONTROL_PORT


class Settings(BaseSettings):
    """Settings of one gateway pod; the sidecar, Envoy's container and its preStop hook share them."""

    model_config = SettingsConfigDict(env_prefix="GREYLAG_", frozen=True)

    namespace: str = Field(default="default", description="Namespace whose AgentRoutes are served.")
    pod_name: str = Field(default="gateway", description="Name of this pod, for acknowledgements and counts.")
    config_dir: Path = Field(default=Path("/etc/greylag-gateway"), description="Folder shared with Envoy.")
    admin_port: int = Field(default=9901, ge=1, le=65535, description="Port of Envoy's admin interface on loopback.")
    control_port: int = Field(default=GATEWAY_CONTROL_PORT, ge=0, le=65535, description="Port of the sidecar.")
    front_door_port: int = Field(default=FRONT_DOOR_PORT, ge=1, le=65535, description="Port for all agents at once.")
    lease_seconds: float = Field(default=60.0, gt=0, description="How long a canary serves without a bump.")
    drain_seconds: float = Field(default=3600.0, ge=0, description="Longest wait for running requests.")
    drain_minimum_seconds: float = Field(default=6.0, ge=0, description="Shortest wait: kube-proxy learns late.")
    confirm_seconds: float = Field(default=10.0, gt=0, description="How long Envoy may take to put a file in force.")
    kubeconfig: str = Field(default="", description="Path of a kubeconfig; empty: the pod's service account.")
    listen_address: str = Field(default="0.0.0.0", description="Address of the agents' listeners.")  # noqa: S104
    concurrency: int = Field(default=2, ge=1, description="Worker threads of Envoy.")
