"""From the write of an AgentRoute to the last gateway that has it in force."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from agent_api.meta import API_VERSION
from benchmarks.acknowledgements import Acknowledgements
from benchmarks.audit import AuditLog, route_writes
from benchmarks.laboratory import agents_path, deployments_path, is_healthy, make_agent, namespace, pods_path
from benchmarks.outcome import Bar, Outcome, spread
from demo.api import Document
from demo.environment import Environment
from demo.errors import DemoError

NAME = "route_latency"
ABOUT = (
    "An AgentDeployment's `suspend` is switched 50 times. A sample runs from the arrival of the operator's"
    " AgentRoute write at the API server (audit log) until the last ready gateway pod answered `GET /applied` with"
    " its serial, asked from the host; `edit` runs from before the user's own patch."
)
_LIMIT_MS = 1000
_CHANGES = 50
_WARM_UP = 2
_READY_SECONDS = 180
_CHANGE_SECONDS = 30
_PAUSE_SECONDS = 0.5
"""Between changes, as between a person's: the operator reports on one before the next comes."""
_AGENT = "support"
_GATEWAY = "greylag-gateway"
_COMPONENT = "app.kubernetes.io/component=gateway"


def measure(lab: Environment) -> Outcome:
    """Switch, and wait for every gateway, one change after the other.

    Raises:
        DemoError: a change did not come into force.
    """
    with namespace(lab, "bench-route") as space:
        lab.apply(make_agent(_AGENT, space, replicas=1))
        agent_path = f"{agents_path(space)}/{_AGENT}"
        lab.api.await_that("a healthy agent", _READY_SECONDS, lambda: is_healthy(lab.api.get(agent_path)) or None)
        gateways = lab.api.await_that("the gateways", _READY_SECONDS, lambda: _gateways_if_ready(lab, space))
        serial = int(lab.api.get(f"/apis/{API_VERSION}/namespaces/{space}/agentroutes/{_AGENT}")["spec"]["serial"])
        audit = AuditLog(lab.devcluster.audit_log)
        with Acknowledgements(gateways, _AGENT) as acknowledged:
            edits = _switch(lambda suspend: _suspend(lab, agent_path, suspend=suspend), acknowledged, serial)
            writes = route_writes((w for w in audit.writes() if w.namespace == space), _AGENT)
            ends = {number: acknowledged.in_force(number) for number in edits}
    samples = _samples(writes, ends)
    whole = _samples(edits, ends)
    figures = {"changes": float(len(samples)), "gateways": float(len(gateways))}
    figures |= spread("write", samples) | spread("edit", whole)
    return Outcome(NAME, figures, {"writeP95Ms": Bar(figures["writeP95Ms"], _LIMIT_MS)})


def _gateways_if_ready(lab: Environment, space: str) -> dict[str, str] | None:
    """Addresses of the gateway pods, by name; None until there are as many ready ones as there shall be."""
    wanted = lab.api.get(f"{deployments_path(space)}/{_GATEWAY}")["spec"]["replicas"]
    found = ready_addresses(lab.api.get(pods_path(space), labelSelector=_COMPONENT)["items"])
    return found if len(found) == wanted else None


def ready_addresses(pods: Iterable[Document]) -> dict[str, str]:
    """Addresses of ready pods, by name."""
    ready = {"type": "Ready", "status": "True"}
    return {
        pod["metadata"]["name"]: pod["status"]["podIP"]
        for pod in pods
        if any(ready.items() <= condition.items() for condition in pod["status"].get("conditions", ()))
    }


def _suspend(lab: Environment, path: str, *, suspend: bool) -> None:
    lab.api.patch(path, {"spec": {"suspend": suspend}})


def _switch(suspend: Callable[[bool], None], acknowledged: Acknowledgements, serial: int) -> dict[int, float]:
    """Unix times of the patches, by the serial that each one led to."""
    edits: dict[int, float] = {}
    for number in range(_WARM_UP + _CHANGES):
        serial += 1
        began = time.time()
        suspend(number % 2 == 0)
        acknowledged.await_serial(serial, _CHANGE_SECONDS)
        if number >= _WARM_UP:
            edits[serial] = began
        time.sleep(_PAUSE_SECONDS)
    return edits


def _samples(begins: dict[int, float], ends: dict[int, float | None]) -> list[float]:
    """Durations in seconds of the serials that were measured.

    Raises:
        DemoError: one of them has no begin or no end: the log and the gateways disagree.
    """
    samples = []
    for serial, end in ends.items():
        begin = begins.get(serial)
        if begin is None or end is None:
            raise DemoError(f"serial {serial}: written {begin}, in force {end}")
        samples.append(end - begin)
    return samples
