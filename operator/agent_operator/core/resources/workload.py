"""Objects of one revision: pod template, Deployment, Service, disruption budget."""

from __future__ import annotations

import copy
import json
from typing import Any

from agent_api.runtime_document import (
    CREDENTIAL_FILE,
    CREDENTIALS_DIRECTORY,
    DOCUMENT_KEY,
    DOCUMENT_PATH,
    RUNTIME_PORT,
)
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.names import revision_labels, revision_selector
from agent_operator.core.resources.metadata import (
    GRACE_SECONDS,
    RESTRICTED_CONTAINER,
    RESTRICTED_POD,
    Manifest,
    make_metadata,
)
from agent_operator.core.revision import endpoints_of
from agent_operator.core.settings import Installation

OVERLAY_ANNOTATION = "greylag.dev/overlay"
OVERLAY_VERSION = 1
_DOCUMENT_DIRECTORY = DOCUMENT_PATH.rsplit("/", 1)[0]


def make_template(agent: str, revision: str, spec: AgentDeploymentSpec, installation: Installation) -> Manifest:
    """Pod template of a revision as it is recorded: everything but Secrets and placement."""
    runtime = spec.runtime
    resources = runtime.resources.model_dump(by_alias=True, exclude_none=True) or installation.runtime_resources
    container: Manifest = {
        "name": "runtime",
        "image": runtime.image or installation.runtime_image,
        "imagePullPolicy": installation.image_pull_policy,
        "command": ["python", "-m", "agent_runtime"],
        "ports": [{"name": "http", "containerPort": RUNTIME_PORT, "protocol": "TCP"}],
        "env": [
            *({"name": entry.name, "value": entry.value} for entry in runtime.env),
            {"name": "GREYLAG_DOCUMENT", "value": DOCUMENT_PATH},
            {"name": "GREYLAG_CREDENTIALS_DIRECTORY", "value": CREDENTIALS_DIRECTORY},
            {"name": "GREYLAG_POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "resources": resources,
        "securityContext": RESTRICTED_CONTAINER,
        "startupProbe": _probe("/health", period=1, failures=120),
        "readinessProbe": _probe("/ready", period=2, failures=2),
        "livenessProbe": _probe("/health", period=10, failures=6),
        "volumeMounts": [{"name": "document", "mountPath": _DOCUMENT_DIRECTORY, "readOnly": True}],
    }
    return {
        "metadata": {"labels": revision_labels(agent, revision)},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": RESTRICTED_POD,
            "containers": [container],
            "volumes": [
                {
                    "name": "document",
                    "configMap": {"name": revision, "items": [{"key": DOCUMENT_KEY, "path": DOCUMENT_KEY}]},
                }
            ],
        },
    }


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": RUNTIME_PORT},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def make_overlay(spec: AgentDeploymentSpec) -> Manifest:
    """What a spec adds to the pods outside the revision: names of Secrets by position, and placement."""
    references = [endpoint.api_key_secret_ref for endpoint in endpoints_of(spec)]
    secrets = {
        str(position): {"name": reference.name, "key": reference.key}
        for position, reference in enumerate(references)
        if reference is not None
    }
    placement = spec.runtime.pod.model_dump(by_alias=True, exclude_none=True)
    return {"version": OVERLAY_VERSION, "secrets": secrets, "placement": placement}


def overlay_text(overlay: Manifest) -> str:
    """Write an overlay as its annotation holds it."""
    return json.dumps(overlay, sort_keys=True, separators=(",", ":"))


def read_overlay(text: str) -> Manifest | None:
    """Read an overlay back; None if the text is not one that `overlay_text` wrote, but was edited by hand."""
    try:
        overlay = json.loads(text)
    except ValueError:
        return None
    return overlay if _is_overlay(overlay) else None


def _is_overlay(overlay: Any) -> bool:  # noqa: ANN401 - JSON
    if not isinstance(overlay, dict) or overlay.keys() != {"version", "secrets", "placement"}:
        return False
    secrets, placement = overlay["secrets"], overlay["placement"]
    if not isinstance(secrets, dict) or not isinstance(placement, dict):
        return False
    return all(
        position.isdecimal() and isinstance(entry, dict) and entry.keys() == {"name", "key"}
        for position, entry in secrets.items()
    )


def lay_over(template: Manifest, overlay: Manifest) -> Manifest:
    """Pod template of a record with its overlay; the arguments stay as they are."""
    result = copy.deepcopy(template)
    pod = result["spec"]
    container = pod["containers"][0]
    positions = sorted(overlay["secrets"], key=int)
    container["env"].append({"name": "GREYLAG_CREDENTIALS", "value": ",".join(positions)})
    for position in positions:
        reference = overlay["secrets"][position]
        name = f"credential-{position}"
        path = f"{CREDENTIALS_DIRECTORY}/{position}"
        container["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})
        items = [{"key": reference["key"], "path": CREDENTIAL_FILE}]
        pod["volumes"].append(
            {"name": name, "secret": {"secretName": reference["name"], "optional": True, "items": items}}
        )
    pod.update(overlay["placement"])
    return result


def make_deployment(
    place: Manifest, revision: str, template: Manifest, overlay: Manifest, replicas: int | None
) -> Manifest:
    """Deployment of a revision; `place` is its metadata, `replicas` None leaves them to whoever scales it."""
    agent = place["ownerReferences"][0]["name"]
    metadata = {
        **place,
        "labels": revision_labels(agent, revision),
        "annotations": {OVERLAY_ANNOTATION: overlay_text(overlay)},
    }
    spec: Manifest = {
        "selector": {"matchLabels": revision_selector(revision)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "revisionHistoryLimit": 1,
        "template": lay_over(template, overlay),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def make_revision_service(agent: str, revision: str, namespace: str, owner: Manifest) -> Manifest:
    """Headless Service whose EndpointSlices tell gateways the pods of a revision."""
    spec: dict[str, Any] = {
        "clusterIP": "None",
        "selector": revision_selector(revision),
        "ports": [{"name": "http", "port": RUNTIME_PORT, "targetPort": RUNTIME_PORT, "protocol": "TCP"}],
    }
    metadata = make_metadata(revision, namespace, revision_labels(agent, revision), owner)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def make_disruption_budget(agent: str, revision: str, namespace: str, owner: Manifest) -> Manifest:
    """Budget that lets a node be drained one pod at a time, and never protects a pod that does not work."""
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": revision_selector(revision)},
    }
    metadata = make_metadata(revision, namespace, revision_labels(agent, revision), owner)
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}
