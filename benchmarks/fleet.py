"""200 AgentDeployments at once until all are Healthy, against 200 plain Deployments."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from benchmarks.audit import AuditLog, Write, count_by_resource, of_operator
from benchmarks.laboratory import (
    agents_path,
    controller_manager_process,
    deployments_path,
    leader_process,
    make_agent,
    make_deployment,
    name_if_healthy,
    name_if_observed,
    namespace,
)
from benchmarks.outcome import Bar, Outcome
from benchmarks.process import Watched
from benchmarks.sightings import See, Sightings
from demo.api import Document
from demo.environment import Environment

NAME = "fleet"
ABOUT = (
    "200 plain Deployments, then 200 AgentDeployments, all with `replicas: 0`, each side created by 8 clients at"
    " once in an empty namespace: from the first create until every status is current, and Healthy (the agents'"
    " time includes the start of the namespace's two gateways, and each agent's confirmed listener). Memory and"
    " CPU are those of the leading operator, and of the kube-controller-manager for the Deployments. Writes are"
    " the operator's in that namespace, until it was quiet; `apiErrors` counts those that were refused."
)
_MAX_WRITES = 13
_MAX_ERRORS = 0
_MAX_MISSING = 0
_COUNT = 200
_CLIENTS = 8
_SECONDS = 150.0
_QUIET_SECONDS = 5.0
_QUIET_LIMIT = 60.0


def measure(lab: Environment) -> Outcome:
    """Create the plain ones, then the agents.

    Raises:
        DemoError: they do not all come to be.
    """
    with namespace(lab, "bench-plain") as space, Watched(controller_manager_process(lab)) as controllers:
        image = lab.images["runtime"]
        plain = [make_deployment(f"plain-{number}", space, 0, image) for number in range(_COUNT)]
        deployments = _create(lab, deployments_path(space), plain, name_if_observed)
        figures = controllers.figures("controllerManager")
    with namespace(lab, "bench-fleet") as space, Watched(leader_process(lab)) as operator:
        audit = AuditLog(lab.devcluster.audit_log)
        agents = [make_agent(f"agent-{number}", space, 0) for number in range(_COUNT)]
        healthy = _create(lab, agents_path(space), agents, name_if_healthy)
        figures |= operator.figures("operator")
        writes = _writes_until_quiet(audit, space)
    return summarise(figures, writes, healthy, deployments)


@dataclass(frozen=True, slots=True)
class Fleet:
    """How long it took until the last object was as wanted, and how many never were."""

    seconds: float
    missing: int


def summarise(usage: dict[str, float], writes: Sequence[Write], agents: Fleet, plain: Fleet) -> Outcome:
    """Figures and bars from what was seen."""
    per_object = round(len(writes) / _COUNT, 2)
    errors = float(sum(write.failed for write in writes))
    figures = {
        "objects": float(_COUNT),
        "agentSeconds": round(agents.seconds, 2),
        "agentsNotHealthy": float(agents.missing),
        "deploymentSeconds": round(plain.seconds, 2),
        "deploymentsNotObserved": float(plain.missing),
        "ratio": round(agents.seconds / plain.seconds, 2),
        **usage,
        "writesPerObject": per_object,
        "apiErrors": errors,
        **{f"writes {what}": float(count) for what, count in count_by_resource(writes).items()},
    }
    bars = {
        "agentsNotHealthy": Bar(agents.missing, _MAX_MISSING),
        "writesPerObject": Bar(per_object, _MAX_WRITES),
        "apiErrors": Bar(errors, _MAX_ERRORS),
    }
    return Outcome(NAME, figures, bars)


def _create(lab: Environment, path: str, manifests: Sequence[Document], see: See) -> Fleet:
    """Create all; done when all are as wanted, or the time is over."""
    names = {manifest["metadata"]["name"] for manifest in manifests}
    with Sightings(lab.api, path, see) as seen:
        began = time.monotonic()
        with ThreadPoolExecutor(_CLIENTS) as pool:
            for created in [pool.submit(lab.api.post, path, manifest) for manifest in manifests]:
                created.result()
        times = seen.await_most(names, _SECONDS)
        missing = len(names - times.keys())
        return Fleet((time.monotonic() if missing else max(times.values())) - began, missing)


def _writes_until_quiet(audit: AuditLog, space: str) -> list[Write]:
    """The operator's writes until it wrote nothing for a while."""
    writes: list[Write] = []
    end = time.monotonic() + _QUIET_LIMIT
    while time.monotonic() < end:
        new = of_operator(audit.writes(), space)
        if writes and not new:
            break
        writes += new
        time.sleep(_QUIET_SECONDS)
    return writes
