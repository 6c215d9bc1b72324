"""What one reconcile of an agent saw, and what it decided: the arguments and results of the pure core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent_api.live_document import LiveDocument
from agent_api.observations import Observations
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_api.v1alpha1.status import Spend
from agent_operator.core.analysis.verdict import Judgement
from agent_operator.core.facts import Command, Gateways, Note, Reported, RevisionHealth, Seen
from agent_operator.core.resources.metadata import Manifest
from agent_operator.core.revision import Record

QUIET_SECONDS = 2.0
"""How long what a spec refers to must stand still before a revision is made of it."""


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
    """Objects of one agent in the cluster, by name; `config` is its live ConfigMap."""

    records: Mapping[str, Manifest] = field(default_factory=dict)
    deployments: Mapping[str, Manifest] = field(default_factory=dict)
    services: Mapping[str, Manifest] = field(default_factory=dict)
    budgets: Mapping[str, Manifest] = field(default_factory=dict)
    config: Manifest | None = None

    def revisions(self) -> frozenset[str]:
        """Names of revisions of which anything is there."""
        return frozenset(self.records) | frozenset(self.deployments)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one reconcile rests on; `remembered` are records as last seen, by revision.

    `readable`: the spec can be used; else what applies live stays as it is. `reported` None: no pod was asked yet.
    `nonce` is a fresh random id, should one be needed.
    """

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
    changing: bool = False
    remembered: Mapping[str, Manifest] = field(default_factory=dict)
    readable: bool = True
    reported: Reported | None = None
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reconcile wants; `route` None: there is nothing to route yet.

    `seen` is what it rests on, None without a route. `live` is what pods read again while they run, `spend` what is
    told of money, `behind_seconds` how far the evidence is behind.
    """

    route: AgentRouteSpec | None
    seen: Seen | None = None
    notes: tuple[Note, ...] = ()
    problems: tuple[Problem, ...] = ()
    waiting: str = ""
    look_again: float | None = None
    judgement: Judgement | None = None
    acknowledged: bool = False
    overdue: bool = False
    live: LiveDocument | None = None
    spend: Spend | None = None
    behind_seconds: int | None = None
