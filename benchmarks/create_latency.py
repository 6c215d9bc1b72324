"""From the creation of an AgentDeployment to its first Pod object, against a plain Deployment's."""

from __future__ import annotations

import time

from agent_api.meta import AGENT_LABEL
from benchmarks.laboratory import (
    APP_LABEL,
    NOWHERE,
    agents_path,
    deployments_path,
    is_healthy,
    make_agent,
    make_deployment,
    namespace,
    pods_path,
)
from benchmarks.outcome import Outcome, spread
from benchmarks.sightings import Sightings
from demo.api import Document
from demo.environment import Environment

NAME = "create_latency"
ABOUT = (
    "20 AgentDeployments and 20 plain Deployments, in turn, one at a time, in a namespace whose gateways run. A"
    " sample runs from before the create request until a watch on the host shows the first Pod object. No node"
    " takes the pods, so that none of them starts. `ratioP50` is AgentDeployment to Deployment."
)
_TIMES = 20
_POD_SECONDS = 60
_READY_SECONDS = 180
_AGENT, _PLAIN = "agent", "plain"


def measure(lab: Environment) -> Outcome:
    """Create one of each in turn.

    Raises:
        DemoError: a pod does not come.
    """
    with namespace(lab, "bench-create") as space:
        _warm_up(lab, space)
        with Sightings(lab.api, pods_path(space), owner_of) as pods:
            samples = _create_in_turn(lab, space, pods)
    agents, plain = samples[_AGENT], samples[_PLAIN]
    figures = {"times": float(len(agents)), **spread("agent", agents), **spread("deployment", plain)}
    figures["ratioP50"] = round(figures["agentP50Ms"] / figures["deploymentP50Ms"], 2)
    figures["ratioP95"] = round(figures["agentP95Ms"] / figures["deploymentP95Ms"], 2)
    return Outcome(NAME, figures, {})


def owner_of(pod: Document) -> str | None:
    """Name of the agent or the plain Deployment that a pod belongs to."""
    labels: dict[str, str] = pod["metadata"].get("labels", {})
    return labels.get(AGENT_LABEL) or labels.get(APP_LABEL)


def _warm_up(lab: Environment, space: str) -> None:
    path = f"{agents_path(space)}/first"
    lab.apply(make_agent("first", space, replicas=0))
    lab.api.await_that("the gateways", _READY_SECONDS, lambda: is_healthy(lab.api.get(path)) or None)


def _create_in_turn(lab: Environment, space: str, pods: Sightings) -> dict[str, list[float]]:
    samples: dict[str, list[float]] = {_AGENT: [], _PLAIN: []}
    for number in range(_TIMES):
        agent = make_agent(f"{_AGENT}-{number}", space, 1, NOWHERE)
        plain = make_deployment(f"{_PLAIN}-{number}", space, 1, lab.images["runtime"])
        jobs = [(_AGENT, agents_path(space), agent), (_PLAIN, deployments_path(space), plain)]
        for side, path, manifest in jobs if number % 2 == 0 else reversed(jobs):
            name = manifest["metadata"]["name"]
            began = time.monotonic()
            lab.api.post(path, manifest)
            samples[side].append(pods.await_all([name], _POD_SECONDS)[name] - began)
    return samples
