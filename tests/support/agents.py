"""One agent in a cluster of dictionaries: snapshots are taken of it, plans are carried out on it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agent_api.acknowledgement import AppliedRoute
from agent_api.observations import Observations
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.decide import decide
from agent_operator.core.facts import Command, Gateways, Reported
from agent_operator.core.names import FIELD_MANAGER, SCALE_MANAGER
from agent_operator.core.plan import Action, Apply, Delete, Scale, WriteRoute, placement_problem, plan
from agent_operator.core.pods import health_of
from agent_operator.core.resources.live import live_name
from agent_operator.core.resources.workload import make_template
from agent_operator.core.revision import Record, make_document, revision_name
from agent_operator.core.settings import Installation
from agent_operator.core.snapshot import Agent, Decision, LiveObjects, Problem, Snapshot, StoredRoute
from agent_operator.core.status import make_status
from tests.support.scene import START

NAME, NAMESPACE, UID = "support", "team-a", "uid-1"


def installation(**fields: Any) -> Installation:
    defaults: dict[str, Any] = {
        "runtime_image": "runtime:1",
        "gateway_image": "gateway:1",
        "image_pull_policy": "IfNotPresent",
        "gateway_replicas": 2,
        "gateway_template": "1",
        "gateway_cluster_role": "greylag-gateway",
        "gateway_resources": {},
        "gateway_pod": {},
        "runtime_resources": {"requests": {"cpu": "50m"}},
        "store_image": "store:1",
        "store_template": "1",
        "store_resources": {},
        "store_pod": {},
        "store_max_memory": "256mb",
        "store_size": "",
        "store_class": "",
        "first_port": 10000,
        "last_port": 10002,
    }
    return Installation(**{**defaults, **fields})


def minimal_spec(**fields: Any) -> dict[str, Any]:
    return {
        "replicas": 2,
        "agent": {"instructions": "You answer."},
        "model": {"name": "m1", "baseURL": "https://models.example/v1"},
        **fields,
    }


def record_of(spec: AgentDeploymentSpec, instructions: str | None = None, **fields: Any) -> Record:
    text = instructions or spec.agent.instructions or ""
    name = revision_name(NAME, spec, text)
    document = make_document(NAME, name, spec, text, namespace=NAMESPACE)
    return Record(name, document, make_template(NAME, name, spec, installation(**fields)))


@dataclass
class Cluster:
    """What there is of one agent; `reconcile` decides once and carries the plan out."""

    spec: dict[str, Any] = field(default_factory=minimal_spec)
    now: datetime = START
    route: StoredRoute | None = None
    records: dict[str, Any] = field(default_factory=dict)
    deployments: dict[str, Any] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)
    budgets: dict[str, Any] = field(default_factory=dict)
    configs: dict[str, Any] = field(default_factory=dict)
    reported: Reported | None = field(default_factory=Reported)
    readable: bool = True
    awaiting_store: str = ""
    pods: dict[str, list[Any]] = field(default_factory=dict)
    ready_gateways: tuple[str, ...] = ("g1", "g2")
    applied: dict[str, AppliedRoute] = field(default_factory=dict)
    gateways_follow: bool = True
    gateways_asked: bool = True
    gateway_fields: dict[str, frozenset[str]] = field(default_factory=dict)
    pods_follow: bool = True
    command: Command | None = None
    observations: tuple[Observations, ...] = ()
    complete: bool = False
    changing: bool = False
    problems: tuple[Problem, ...] = ()
    free_port: int | None = 10000
    remembered: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    generation: int = 1
    log: list[Action] = field(default_factory=list)
    decision: Decision | None = None

    # The world.

    def edit(self, **fields: Any) -> Cluster:
        self.spec = {**self.spec, **fields}
        self.generation += 1
        return self

    def model(self, name: str) -> Cluster:
        return self.edit(model={**self.spec["model"], "name": name})

    def passes(self, seconds: float) -> Cluster:
        self.now += timedelta(seconds=seconds)
        return self

    def bring_up(self, revision: str, ready: int | None = None) -> Cluster:
        deployment = self.deployments[revision]
        replicas = deployment["spec"].get("replicas", 1)
        count = replicas if ready is None else ready
        deployment["status"] = {
            "observedGeneration": 1,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": count,
        }
        return self

    def parsed(self) -> AgentDeploymentSpec:
        return AgentDeploymentSpec.model_validate(self.spec)

    @property
    def target(self) -> str:
        return record_of(self.parsed()).name

    # One reconcile.

    def snapshot(self) -> Snapshot:
        spec = self.parsed()
        if self.pods_follow:
            for revision in self.deployments:
                self.bring_up(revision)
        if self.gateways_follow and self.route is not None:
            answer = AppliedRoute(uid=self.route.uid, serial=self.route.spec.serial)
            self.applied = dict.fromkeys(self.ready_gateways, answer)
        health = {
            name: health_of(item, self.pods.get(name, ()), now=self.now, **self._store_awaited(item))
            for name, item in self.deployments.items()
        }
        return Snapshot(
            agent=Agent(NAMESPACE, NAME, UID, self.generation, spec, self.command, self.status),
            route=self.route,
            target=None if self.problems else record_of(spec),
            live=LiveObjects(
                *copy.deepcopy((self.records, self.deployments, self.services, self.budgets)),
                config=self.configs.get(live_name(NAME)),
            ),
            health=health,
            gateways=Gateways(self.ready_gateways, dict(self.applied), self.gateways_asked, self.gateway_fields),
            free_port=self.free_port,
            observations=self.observations,
            complete=self.complete,
            problems=self.problems,
            changing=self.changing,
            remembered=dict(self.remembered),
            readable=self.readable,
            reported=self.reported,
            nonce=f"seed-{self.now.timestamp():.0f}",
        )

    def _store_awaited(self, deployment: dict[str, Any]) -> dict[str, Any]:
        ready = deployment.get("status", {}).get("readyReplicas")
        return {} if ready or not self.awaiting_store else {"readiness": self.awaiting_store, "waits_for_store": True}

    def reconcile(self) -> tuple[Action, ...]:
        """Decide, carry the plan out, report; returns the actions that change something."""
        snapshot = self.snapshot()
        self.decision = decide(snapshot, self.now)
        actions = plan(snapshot, self.decision)
        effective = tuple(action for action in actions if self._perform(action))
        self.log += effective
        everything = (*self.decision.problems, *placement_problem(snapshot, self.decision))
        if self.decision.look_again != 0:
            self.status = make_status(snapshot, self.decision, everything, self.now)
        return effective

    def run(self) -> Cluster:
        for _ in range(100):
            if not self.reconcile() and self.decision is not None and self.decision.look_again != 0:
                return self
        raise AssertionError(f"does not come to rest: {self.log[-6:]}")

    def _perform(self, action: Action) -> bool:
        match action:
            case WriteRoute():
                uid = self.route.uid if self.route is not None and self.route.uid else "route-uid"
                self.route = StoredRoute(uid, action.spec)
                return True
            case Scale():
                self._scale(action)
                return True
            case Delete():
                return self._kind(action.manifest).pop(action.manifest["metadata"]["name"], None) is not None
            case Apply():
                return self._apply(action.manifest)

    def _scale(self, action: Scale) -> None:
        deployment = self.deployments[action.name]
        deployment["spec"]["replicas"] = action.replicas
        deployment["metadata"]["managedFields"] = [_owns_replicas(SCALE_MANAGER, "Update")]

    def _apply(self, manifest: dict[str, Any]) -> bool:
        kind, name = self._kind(manifest), manifest["metadata"]["name"]
        before = kind.get(name)
        after = copy.deepcopy(manifest)
        if manifest["kind"] == "Deployment":
            self._as_stored(after, before)
        kind[name] = after
        return before is None or {**before, "status": 0} != {**after, "status": 0}

    def _as_stored(self, after: dict[str, Any], before: dict[str, Any] | None) -> None:
        after["metadata"]["generation"] = 1
        if "replicas" in after["spec"]:
            after["metadata"]["managedFields"] = [_owns_replicas(FIELD_MANAGER, "Apply")]
        if before is not None:
            after["status"] = before.get("status", {})
            after["metadata"].setdefault("managedFields", before["metadata"].get("managedFields"))
            after["spec"].setdefault("replicas", before["spec"]["replicas"])

    def _kind(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["metadata"]["name"] == live_name(NAME):
            return self.configs
        return {
            "ConfigMap": self.records,
            "Deployment": self.deployments,
            "Service": self.services,
            "PodDisruptionBudget": self.budgets,
        }[manifest["kind"]]

    # What became of it.

    @property
    def spec_of_route(self) -> AgentRouteSpec:
        assert self.route is not None
        return self.route.spec

    @property
    def stable(self) -> str | None:
        return routing.name_of(self.spec_of_route, Role.STABLE)

    @property
    def canary(self) -> str | None:
        return routing.name_of(self.spec_of_route, Role.CANARY)

    def condition(self, kind: str) -> dict[str, Any] | None:
        return next((entry for entry in self.status["conditions"] if entry["type"] == kind), None)


def _owns_replicas(manager: str, operation: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}}


def describe(action: Action) -> str:
    """An action in words: what, which kind, which name."""
    match action:
        case WriteRoute():
            return "route"
        case Scale():
            return f"scale {action.name} to {action.replicas}"
        case Delete():
            return f"delete {action.manifest['kind']} {action.manifest['metadata']['name']}"
        case Apply():
            return f"apply {action.manifest['kind']} {action.manifest['metadata']['name']}"
