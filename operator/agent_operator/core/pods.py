"""What pods and Deployments say of a revision's health."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agent_operator.core.facts import FailureReason, PodFailure, RevisionHealth

CRASHES_THAT_FAIL = 3
_IMAGE_REASONS = frozenset({"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
_CONFIGURATION_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def health_of(
    deployment: dict[str, Any] | None,
    pods: Iterable[dict[str, Any]],
    readiness: str = "",
    *,
    waits_for_store: bool = False,
) -> RevisionHealth:
    """Health of a revision from its Deployment and pods; the rest is what a pod said of why it is not ready."""
    if deployment is None:
        return RevisionHealth()
    status = deployment.get("status", {})
    generation = deployment["metadata"].get("generation", 0)
    wanted = deployment["spec"].get("replicas", 1)
    updated = status.get("updatedReplicas", 0)
    return RevisionHealth(
        exists=True,
        pods=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        settled=status.get("observedGeneration", 0) >= generation and updated >= wanted,
        failure=next((failure for failure in map(failure_of, pods) if failure is not None), None),
        not_ready_reason=readiness or _blocked(status),
        waits_for_store=waits_for_store,
    )


def _blocked(status: dict[str, Any]) -> str:
    """Why the Deployment cannot make pods at all, such as a quota or an admission rule."""
    for condition in status.get("conditions", ()):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return str(condition.get("message", ""))[:512]
    return ""


def failure_of(pod: dict[str, Any]) -> PodFailure | None:
    """Failure of a pod that will not come up by waiting; None of one that may."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
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
    if container.get("restartCount", 0) >= CRASHES_THAT_FAIL and not container.get("ready", False):
        ended = container.get("lastState", {}).get("terminated", {})
        cause = f"exit code {ended.get('exitCode', '?')} {ended.get('reason', '')}".strip()
        message = f"pod {pod} crashed {container['restartCount']} times ({cause}); see `kubectl logs --previous {pod}`"
        return PodFailure(FailureReason.CRASH_LOOP, message)
    return None
