"""What one reconcile of an agent saw, and what it decided: the arguments and results of the pure core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_api.observations import Observations
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_operator.core.analysis.verdict import Judgement
from agent_operator.core.facts import Command, Gateways, Note, RevisionHealth
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.revision import Record


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that only the operator can know and a person must mend: becomes a condition."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Agent:
    """An AgentDeployment as read."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: AgentDeploymentSpec
    command: Command | None = None
    status: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """An AgentRoute as the operator last wrote it; `intact` is False for one that was edited or deleted by hand."""

    uid: str
    spec: AgentRouteSpec
    intact: bool = True


@dataclass(frozen=True, slots=True)
class LiveObjects:
    """Objects of one agent in the cluster, by name."""

    records: Mapping[str, Manifest] = field(default_factory=dict)
    deployments: Mapping[str, Manifest] = field(default_factory=dict)
    services: Mapping[str, Manifest] = field(default_factory=dict)
    budgets: Mapping[str, Manifest] = field(default_factory=dict)

    def revisions(self) -> frozenset[str]:
        """Names of revisions of which anything is there."""
        return frozenset(self.records) | frozenset(self.deployments)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one reconcile rests on; `remembered` are records as last seen, by revision."""

    agent: Agent
    route: StoredRoute | None
    target: Record | None
    live: LiveObjects
    health: Mapping[str, RevisionHealth]
    gateways: Gateways
    free_port: int | None
    last_serial: int = 0
    observations: tuple[Observations, ...] = ()
    complete: bool = False
    problems: tuple[Problem, ...] = ()
    settling: bool = False
    remembered: Mapping[str, Manifest] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reconcile wants; `route` None: there is nothing to route yet."""

    route: AgentRouteSpec | None
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()
    waiting: str = ""
    look_again: float | None = None
    judgement: Judgement | None = None
    acknowledged: bool = False
    overdue: bool = False
