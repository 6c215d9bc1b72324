"""What pods and Deployments say of a revision's health."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from agent_operator.core.facts import FailureReason, PodFailure, RevisionHealth

CRASHES_THAT_FAIL = 3
SHORT_RUN = timedelta(minutes=10)
"""A container that ran longer before it ended is in no loop, however often it was restarted in its life."""
PATIENCE = timedelta(seconds=60)
"""How long a pod may be without success while others have it: an image may be pulled, a node be mended."""
_IMAGE_REASONS = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_CONFIGURATION_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def health_of(
    deployment: dict[str, Any] | None,
    pods: Iterable[dict[str, Any]],
    readiness: str = "",
    *,
    now: datetime,
    waits_for_store: bool = False,
) -> RevisionHealth:
    """Health of a revision from its Deployment and pods, at `now`; the rest is what a pod said of why it is not ready.

    A pod that fails is a failure of the revision when it lasts, or when all its pods fail.
    """
    if deployment is None:
        return RevisionHealth()
    status = deployment.get("status", {})
    generation = deployment["metadata"].get("generation", 0)
    wanted = deployment["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    failed, passing = _failures_of([pod for pod in pods if not pod["metadata"].get("deletionTimestamp")], now)
    return RevisionHealth(
        exists=True,
        pods=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        status_current=status.get("observedGeneration", 0) >= generation and updated >= wanted,
        failure=failed,
        not_ready_reason=readiness or _blocked(status) or (passing.message if passing else ""),
        waits_for_store=waits_for_store,
    )


def _failures_of(pods: list[dict[str, Any]], now: datetime) -> tuple[PodFailure | None, PodFailure | None]:
    """A failure that counts, and one that may still pass."""
    failures = [(pod, failure) for pod in pods if (failure := failure_of(pod)) is not None]
    lasting = [failure for pod, failure in failures if len(failures) == len(pods) or _lasts(pod, now)]
    return next(iter(lasting), None), next((failure for _, failure in failures), None)


def _lasts(pod: dict[str, Any], now: datetime) -> bool:
    """Whether a pod has not been ready for PATIENCE; one that does not say since when has failed long enough."""
    conditions = pod.get("status", {}).get("conditions", ())
    moments = (entry.get("lastTransitionTime") for entry in conditions if entry.get("type") == "ContainersReady")
    since = _moment(next(moments, None))
    return since is None or now - since >= PATIENCE


def _moment(text: Any) -> datetime | None:  # noqa: ANN401 - JSON
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def _blocked(status: dict[str, Any]) -> str:
    """Why the Deployment cannot make pods at all, such as a quota or an admission rule."""
    for condition in status.get("conditions", ()):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message", ""))[:512]
    return ""


def failure_of(pod: dict[str, Any]) -> PodFailure | None:
    """Failure of a pod that will not come up by waiting; None of one that may."""
    for container in pod.get("status", {}).get("containerStatuses", ()):
        failure = _container_failure(pod["metadata"]["name"], container)
        if failure is not None:
            return failure
    return None


def _container_failure(pod: str, container: dict[str, Any]) -> PodFailure | None:
    waiting = container.get("state", {}).get("waiting", {})
    reason, detail = waiting.get("reason", ""), str(waiting.get("message", ""))[:400]
    if reason in _IMAGE_REASONS:
        message = f"pod {pod}: image {container.get('image', '')} cannot be pulled ({reason}): {detail}"
        return PodFailure(FailureReason.IMAGE_PULL_FAILED, message)
    if reason in _CONFIGURATION_REASONS:
        return PodFailure(FailureReason.CONFIGURATION_INVALID, f"pod {pod}: {reason}: {detail}")
    ended = container.get("lastState", {}).get("terminated", {})
    if container.get("restartCount", 0) >= CRASHES_THAT_FAIL and _is_down(container) and _ran_briefly(ended):
        cause = f"exit code {ended.get('exitCode', '?')} {ended.get('reason', '')}".strip()
        message = f"pod {pod} crashed {container['restartCount']} times ({cause}); see `kubectl logs --previous {pod}`"
        return PodFailure(FailureReason.CRASH_LOOP, message)
    return None


def _is_down(container: dict[str, Any]) -> bool:
    """Whether a container waits for its next start: one that runs, and is not ready, may become so."""
    state = container.get("state", {})
    return "running" not in state and not container.get("ready", False)


def _ran_briefly(ended: dict[str, Any]) -> bool:
    """Whether the last run was short, as in a loop; one that does not say so was."""
    started, finished = _moment(ended.get("startedAt")), _moment(ended.get("finishedAt"))
    return started is None or finished is None or finished - started < SHORT_RUN
