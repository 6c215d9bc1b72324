"""What agentctl needs of a cluster, and where the cluster is."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agentctl.document import Document


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster and namespace; what is None comes from the kubeconfig."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None

    def flags(self) -> str:
        """The flags that select the same target again, each with a space in front."""
        pairs = (("--kubeconfig", self.kubeconfig), ("--context", self.context), ("-n", self.namespace))
        return "".join(f" {flag} {shlex.quote(value)}" for flag, value in pairs if value is not None)


class Cluster(Protocol):
    """Reads and the one write, in one namespace. Every method raises `ApiError` with a line for a person."""

    @property
    def namespace(self) -> str:
        """The namespace that names are looked up in."""

    def get_agent(self, name: str) -> Document:
        """An AgentDeployment."""

    def list_agents(self, *, all_namespaces: bool) -> list[dict[str, Any]]:
        """AgentDeployments of the namespace, or of all."""

    def send_command(self, name: str, command: str) -> None:
        """Set the annotation that the operator reads commands from."""

    def get_route(self, name: str) -> Document | None:
        """The AgentRoute of an agent; None if there is none."""

    def list_revisions(self, name: str) -> list[dict[str, Any]]:
        """ConfigMaps that record the revisions of an agent."""
