"""A few calls to the API server that a kubeconfig names; every one with a time limit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import urllib3
import yaml
from kubernetes import client, config

from demo.errors import DemoError

Document = dict[str, Any]
T = TypeVar("T")
TIMEOUT = (5.0, 30.0)
"""Seconds to connect and to read."""
FIELD_MANAGER = "greylag-demo"
_NOT_FOUND = 404
_WATCH_SECONDS = 60
_POLL_SECONDS = 0.5


class Unanswered(DemoError):
    """The API server, or what it forwards to, did not answer."""


class Refused(DemoError):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the API server answered {status}: {message}")
        self.status = status


class Api:
    """The API server, by paths. May be used from several threads."""

    def __init__(self, kubeconfig: Path | None = None) -> None:
        """Use a kubeconfig of ours, which is reached directly, or the reader's own, with its proxy settings.

        Raises:
            DemoError: there is no usable kubeconfig.
        """
        settings = client.Configuration()
        try:
            config.load_kube_config(  # type: ignore[no-untyped-call]
                None if kubeconfig is None else str(kubeconfig), client_configuration=settings
            )
        except (config.ConfigException, yaml.YAMLError, OSError) as error:
            raise DemoError(f"no usable kubeconfig: {' '.join(str(error).split())}") from error
        settings.retries = 0
        if kubeconfig is not None:
            settings.proxy = None
        self._client = client.ApiClient(settings)

    def get(self, path: str, **query: str) -> Document:
        """Read a path."""
        return self._json("GET", path, query=query)

    def find(self, path: str, **query: str) -> Document | None:
        """Read a path; None if there is nothing."""
        try:
            return self.get(path, **query)
        except Refused as refused:
            if refused.status == _NOT_FOUND:
                return None
            raise

    def apply(self, path: str, manifest: Document) -> Document:
        """Server-side apply of one object at its path, unknown fields refused."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        return self._json("PATCH", path, query=query, body=manifest, content_type="application/apply-patch+yaml")

    def patch(self, path: str, changes: Document) -> Document:
        """Merge patch of one object."""
        return self._json("PATCH", path, body=changes, content_type="application/merge-patch+json")

    def post(self, path: str, body: Document) -> Document:
        """Post to a path, also one behind the API server's proxy."""
        return self._json("POST", path, body=body)

    def delete(self, path: str, **query: str) -> None:
        """Delete what is at a path, if anything is."""
        try:
            self._json("DELETE", path, query=query)
        except Refused as refused:
            if refused.status != _NOT_FOUND:
                raise

    def watch(self, path: str, version: str, seconds: int = _WATCH_SECONDS, **query: str) -> Iterator[Document]:
        """Watch events from a resource version on, until the API server ends the watch.

        Raises:
            Unanswered: the connection broke.
        """
        query = {**query, "watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)}
        response = self._send("GET", path, query, None, "application/json", (TIMEOUT[0], seconds + TIMEOUT[1]))
        rest = b""
        try:
            for part in response.response.stream(None):
                *lines, rest = (rest + part).split(b"\n")
                yield from (json.loads(line) for line in lines if line)
        except urllib3.exceptions.HTTPError as error:
            raise Unanswered(f"watch {path}: {type(error).__name__}") from error
        finally:
            response.response.close()

    def await_that(self, what: str, seconds: float, look: Callable[[], T | None]) -> T:
        """Look until the answer is not None; an API server that is away for a moment is waited for.

        Raises:
            DemoError: it stays None for `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                found = look()
            except Unanswered:
                found = None
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise DemoError(f"{what}: not so after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        content_type: str = "application/json",
    ) -> Document:
        response = self._send(method, path, query or {}, body, content_type, TIMEOUT)
        try:
            answer = json.loads(response.read() or b"{}")
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise Unanswered(f"{method} {path}: {type(error).__name__}") from error
        if response.status >= 400:  # noqa: PLR2004 - HTTP's client and server errors
            raise Refused(response.status, str(answer.get("message", answer)))
        return dict(answer)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Document | None,
        content_type: str,
        timeout: tuple[float, float],
    ) -> Any:  # noqa: ANN401 - the client's response type is untyped
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            return self._client.call_api(*request, _request_timeout=timeout)
        except urllib3.exceptions.HTTPError as error:
            raise Unanswered(f"{method} {path}: {type(error).__name__}") from error


def service_proxy(namespace: str, service: str, port: int, path: str) -> str:
    """Path by which the API server forwards a request to a Service."""
    return f"/api/v1/namespaces/{namespace}/services/http:{service}:{port}/proxy/{path.lstrip('/')}"


def object_path(manifest: Document) -> str:
    """Path of an object by its manifest.

    Raises:
        KeyError: a kind that the demo does not use.
    """
    group, _, version = manifest["apiVersion"].rpartition("/")
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    metadata = manifest["metadata"]
    place = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{place}/{_PLURALS[manifest['kind']]}/{metadata['name']}"


_PLURALS = {
    "AgentDeployment": "agentdeployments",
    "AgentRoute": "agentroutes",
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "Namespace": "namespaces",
    "Secret": "secrets",
    "Service": "services",
}
