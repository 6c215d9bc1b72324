"""A client of the API server that KUBECONFIG names, with the definitions of this checkout installed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

REPOSITORY = Path(__file__).parents[3]
NAMESPACE = "default"
TIMEOUT_SECONDS = 15
ESTABLISH_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said to a dry run: the object as it would be stored, or the refusal."""

    status: int
    message: str
    stored: dict[str, Any] | None = None


DryRun = Callable[[dict[str, Any]], Answer]


@pytest.fixture(scope="session")
def dry_run() -> Iterator[DryRun]:
    """Create an AgentDeployment as `kubectl apply --dry-run=server` does, unknown fields refused."""
    with config.new_client_from_config() as api:
        _install_definitions(api)
        objects = client.CustomObjectsApi(api)

        def create(manifest: dict[str, Any]) -> Answer:
            try:
                stored: Any = objects.create_namespaced_custom_object(
                    "greylag.dev",
                    "v1alpha1",
                    NAMESPACE,
                    "agentdeployments",
                    manifest,
                    dry_run="All",
                    field_validation="Strict",
                    _request_timeout=TIMEOUT_SECONDS,
                )
            except ApiException as error:
                return Answer(error.status or 0, str(json.loads(error.body or "{}").get("message", error.body)))
            return Answer(201, "", stored)

        yield create


def _install_definitions(api: client.ApiClient) -> None:
    """Install what is missing or out of date; the rest is left to whoever installed it, or it would get two owners."""
    definitions = client.ApiextensionsV1Api(api)
    live = {found.metadata.name: api.sanitize_for_serialization(found) for found in _listed(definitions)}
    for path in sorted((REPOSITORY / "crds").glob("*.yaml")):
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        name = body["metadata"]["name"]
        if _contains(live.get(name, {}), {"spec": body["spec"]}):
            continue
        definitions.patch_custom_resource_definition(
            name,
            body,
            field_manager="kubectl",
            force=True,
            _content_type="application/apply-patch+yaml",
            _request_timeout=TIMEOUT_SECONDS,
        )
        _wait_until_served(client.CustomObjectsApi(api), body["spec"]["names"]["plural"])


def _listed(definitions: client.ApiextensionsV1Api) -> list[Any]:
    return list(definitions.list_custom_resource_definition(_request_timeout=TIMEOUT_SECONDS).items)


def _contains(live: Any, wanted: Any) -> bool:
    """Whether the live value is the wanted one, but for what the API server added; a schema may not have grown."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        grown = "properties" in wanted and wanted["properties"].keys() != live.get("properties", {}).keys()
        return not grown and all(_contains(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list) and isinstance(live, list):
        return len(live) == len(wanted) and all(map(_contains, live, wanted))
    return bool(live == wanted)


def _wait_until_served(objects: client.CustomObjectsApi, plural: str) -> None:
    """Wait until the resource can be listed: right after its definition is made it answers 404, then 429."""
    deadline = time.monotonic() + ESTABLISH_SECONDS
    while True:
        try:
            objects.list_namespaced_custom_object(
                "greylag.dev", "v1alpha1", NAMESPACE, plural, limit=1, _request_timeout=TIMEOUT_SECONDS
            )
        except ApiException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return
