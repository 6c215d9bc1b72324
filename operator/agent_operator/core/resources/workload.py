"""Objects of one revision: pod template, Deployment, Service, disruption budget."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from agent_api.live_document import LIVE_DIRECTORY, LIVE_KEY, LIVE_PATH
from agent_api.runtime_document import (
    API_KEYS_DIRECTORY,
    CREDENTIAL_FILE,
    CREDENTIALS_DIRECTORY,
    DOCUMENT_KEY,
    DOCUMENT_PATH,
    HEADER_FILE,
    HEADERS_DIRECTORY,
    RUNTIME_PORT,
    STORE_CA_FILE,
    STORE_DIRECTORY,
    STORE_URL_FILE,
)
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.names import revision_labels, revision_selector
from agent_operator.core.resources.live import live_name
from agent_operator.core.resources.metadata import (
    GRACE_SECONDS,
    RESTRICTED_CONTAINER,
    RESTRICTED_POD,
    Manifest,
    make_metadata,
)
from agent_operator.core.revision import endpoints_of, headers_of
from agent_operator.core.settings import Installation

OVERLAY_ANNOTATION = "greylag.dev/overlay"
OVERLAY_VERSION = 1
STORE_SECRET = "greylag-store"  # noqa: S105 - a name
"""Secret of the namespace's trial store."""
STORE_SECRET_KEY = "url"  # noqa: S105 - a name
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
            {"name": "GREYLAG_LIVE", "value": LIVE_PATH},
            {"name": "GREYLAG_STORE_DIRECTORY", "value": STORE_DIRECTORY},
        ],
        "resources": resources,
        "securityContext": RESTRICTED_CONTAINER,
        "startupProbe": _probe("/health", period=1, failures=120),
        "readinessProbe": _probe("/ready", period=2, failures=2),
        "livenessProbe": _probe("/health", period=10, failures=6),
        "volumeMounts": [
            {"name": "document", "mountPath": _DOCUMENT_DIRECTORY, "readOnly": True},
            {"name": "live", "mountPath": LIVE_DIRECTORY, "readOnly": True},
            {"name": "store", "mountPath": STORE_DIRECTORY, "readOnly": True},
        ],
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
                },
                {
                    "name": "live",
                    "configMap": {
                        "name": live_name(agent),
                        "optional": True,
                        "items": [{"key": LIVE_KEY, "path": LIVE_KEY}],
                    },
                },
                _secret_volume("store", {"name": STORE_SECRET, "key": STORE_SECRET_KEY}, STORE_URL_FILE),
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
    """What a spec adds to the pods outside the revision: names of Secrets by position, and placement.

    A part that came with a later release is there only if the spec uses it, so that upgrades restart no pod.
    """
    references = {str(position): entry.api_key_secret_ref for position, entry in enumerate(endpoints_of(spec))}
    headers = {
        f"{source}-{position}": header.secret_key_ref.model_dump()
        for source, tools in enumerate(spec.tools)
        for position, header in enumerate(headers_of(tools))
    }
    overlay: Manifest = {
        "version": OVERLAY_VERSION,
        "secrets": {position: entry.model_dump() for position, entry in references.items() if entry is not None},
        "placement": spec.runtime.pod.model_dump(by_alias=True, exclude_none=True),
    }
    if headers:
        overlay["headers"] = headers
    if spec.access.api_keys_secret_ref is not None:
        overlay["apiKeys"] = spec.access.api_keys_secret_ref.model_dump()
    if spec.store is not None:
        overlay["store"] = {"url": spec.store.url_secret_ref.model_dump()}
        if spec.store.ca_secret_ref is not None:
            overlay["store"]["ca"] = spec.store.ca_secret_ref.model_dump()
    return overlay


def overlay_text(overlay: Manifest) -> str:
    """Write an overlay as its annotation holds it."""
    return json.dumps(overlay, sort_keys=True, separators=(",", ":"))


def read_overlay(text: str) -> Manifest | None:
    """Read an overlay back; None if the text is not one that `overlay_text` wrote, but was edited by hand."""
    try:
        overlay = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return overlay if _is_overlay(overlay) else None


_ALWAYS = {"version", "secrets", "placement"}
_WHEN_USED = {"headers", "apiKeys", "store"}
_POSITION = re.compile(r"[0-9]{1,3}")
_HEADER_POSITION = re.compile(r"[0-9]{1,3}-[0-9]{1,3}")


def _is_overlay(overlay: Any) -> bool:  # noqa: ANN401 - JSON
    if not isinstance(overlay, dict) or not _ALWAYS <= overlay.keys() <= _ALWAYS | _WHEN_USED:
        return False
    return (
        isinstance(overlay["placement"], dict)
        and _are_references(overlay["secrets"], _POSITION)
        and ("headers" not in overlay or _are_references(overlay["headers"], _HEADER_POSITION))
        and ("apiKeys" not in overlay or _is_reference(overlay["apiKeys"], {"name"}))
        and ("store" not in overlay or _is_store(overlay["store"]))
    )


def _are_references(entries: Any, position: re.Pattern[str]) -> bool:  # noqa: ANN401 - JSON
    return isinstance(entries, dict) and all(
        position.fullmatch(at) and _is_reference(entry, {"name", "key"}) for at, entry in entries.items()
    )


def _is_reference(entry: Any, parts: set[str]) -> bool:  # noqa: ANN401 - JSON
    return isinstance(entry, dict) and entry.keys() == parts and all(isinstance(part, str) for part in entry.values())


def _is_store(store: Any) -> bool:  # noqa: ANN401 - JSON
    if not isinstance(store, dict) or not {"url"} <= store.keys() <= {"url", "ca"}:
        return False
    return all(_is_reference(entry, {"name", "key"}) for entry in store.values())


def lay_over(template: Manifest, overlay: Manifest) -> Manifest:
    """Pod template of a record with its overlay; the arguments stay as they are."""
    result = copy.deepcopy(template)
    pod = result["spec"]
    _mount_credentials(pod, overlay["secrets"])
    if "headers" in overlay:
        _mount_headers(pod, overlay["headers"])
    if "apiKeys" in overlay:
        _set_env(pod, "GREYLAG_API_KEYS_DIRECTORY", API_KEYS_DIRECTORY)
        volume = {"name": "api-keys", "secret": {"secretName": overlay["apiKeys"]["name"], "optional": True}}
        _mount(pod, volume, API_KEYS_DIRECTORY)
    if "store" in overlay:
        _replace_store(pod, overlay["store"])
    pod.update(overlay["placement"])
    return result


def _mount_credentials(pod: Manifest, secrets: Manifest) -> None:
    positions = sorted(secrets, key=int)
    _set_env(pod, "GREYLAG_CREDENTIALS", ",".join(positions))
    for position in positions:
        volume = _secret_volume(f"credential-{position}", secrets[position], CREDENTIAL_FILE)
        _mount(pod, volume, f"{CREDENTIALS_DIRECTORY}/{position}")


def _mount_headers(pod: Manifest, headers: Manifest) -> None:
    positions = sorted(headers, key=lambda at: [int(part) for part in at.split("-")])
    _set_env(pod, "GREYLAG_HEADERS", ",".join(positions))
    sources = [_secret_source(headers[position], f"{position}/{HEADER_FILE}") for position in positions]
    _mount(pod, {"name": "headers", "projected": {"sources": sources}}, HEADERS_DIRECTORY)


def _replace_store(pod: Manifest, store: Manifest) -> None:
    """Mount the user's store in place of the trial one; a record made before there were stores has no such place."""
    sources = [_secret_source(store["url"], STORE_URL_FILE)]
    if "ca" in store:
        sources.append(_secret_source(store["ca"], STORE_CA_FILE))
    volume = {"name": "store", "projected": {"sources": sources}}
    pod["volumes"] = [volume if known.get("name") == "store" else known for known in pod["volumes"]]


def _set_env(pod: Manifest, name: str, value: str) -> None:
    pod["containers"][0]["env"].append({"name": name, "value": value})


def _mount(pod: Manifest, volume: Manifest, path: str) -> None:
    mount = {"name": volume["name"], "mountPath": path, "readOnly": True}
    pod["containers"][0]["volumeMounts"].append(mount)
    pod["volumes"].append(volume)


def _secret_volume(name: str, reference: Manifest, file: str) -> Manifest:
    """Volume of one key of a Secret; a missing one is told of by the pod's readiness."""
    items = [{"key": reference["key"], "path": file}]
    return {"name": name, "secret": {"secretName": reference["name"], "optional": True, "items": items}}


def _secret_source(reference: Manifest, file: str) -> Manifest:
    items = [{"key": reference["key"], "path": file}]
    return {"secret": {"name": reference["name"], "optional": True, "items": items}}


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
