"""The cluster behind a kubeconfig: the only module that knows the Kubernetes client."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import urllib3
import yaml
from kubernetes import client, config

from agent_api.meta import AGENT_LABEL, COMMAND_ANNOTATION, COMPONENT_LABEL, GROUP, VERSION
from agentctl.cluster.failures import Call, agent_not_found, failure
from agentctl.errors import ApiError, MissingError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agentctl.cluster.client import Target
    from agentctl.document import Document

FIELD_MANAGER = "agentctl"
MERGE_PATCH = "application/merge-patch+json"
TIMEOUT = (5.0, 20.0)
"""Seconds to connect and to read."""
PAGE_SIZE = 500
MAX_PAGES = 200
AGENTS = "agentdeployments"
ROUTES = "agentroutes"


@contextmanager
def _converted(call: Call) -> Iterator[None]:
    """Turn what the client raises into one line for a person."""
    try:
        yield
    except client.ApiException as error:
        raise failure(call, error.status or 0, error.body or error.reason) from error
    except urllib3.exceptions.HTTPError as error:
        raise UnreachableError(f"cannot reach the API server: {_cause(error)}") from error


def _cause(error: BaseException) -> str:
    """What went wrong with a connection, without the words of the library: `10.0.0.1:6443: Connection refused`."""
    reason = getattr(error, "reason", None)
    text = str(reason if isinstance(reason, BaseException) else error)
    place = re.sub(r"^<?\w+\(host='([^']*)', port=(\d+)\)[^:]*: ", r"\1:\2: ", text)
    return re.sub(r"Failed to establish a new connection: |\[Errno \d+\] ", "", place)


def _document(answer: object) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ApiError(f"the API server answered with {type(answer).__name__} in place of an object")
    return answer


def load_client(target: Target) -> tuple[client.ApiClient, str]:
    """The client and the namespace of the kubeconfig's context.

    Raises
    ------
    ApiError
        If there is no usable kubeconfig, or no such context in it.
    """
    settings = client.Configuration()
    try:
        contexts, active = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
            config_file=target.kubeconfig
        )
        config.load_kube_config(  # type: ignore[no-untyped-call]
            target.kubeconfig, target.context, client_configuration=settings
        )
    except (config.ConfigException, yaml.YAMLError, OSError) as error:
        where = target.kubeconfig or "$KUBECONFIG or ~/.kube/config"
        raise ApiError(f"no usable kubeconfig ({where}): {' '.join(str(error).split())}") from error
    settings.retries = 0
    chosen = next((item for item in contexts if item["name"] == target.context), active)
    return client.ApiClient(settings), chosen["context"].get("namespace") or "default"


class KubernetesCluster:
    """A `Cluster` on the official client; every call is bounded in time and made once."""

    def __init__(self, target: Target) -> None:
        api, default_namespace = load_client(target)
        self._namespace = target.namespace or default_namespace
        self._custom = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._api = api

    @property
    def namespace(self) -> str:
        """The namespace that names are looked up in."""
        return self._namespace

    def get_agent(self, name: str) -> Document:
        """An AgentDeployment; a wrong name is answered with the names that exist."""
        try:
            return self._get(AGENTS, name)
        except MissingError as error:
            raise self._not_found(name, error) from error

    def _get(self, plural: str, name: str) -> Document:
        with _converted(Call("get", f"{plural}.{GROUP}", self._namespace, name)):
            answer = self._custom.get_namespaced_custom_object(
                GROUP, VERSION, self._namespace, plural, name, _request_timeout=TIMEOUT
            )
        return _document(answer)

    def _not_found(self, name: str, error: MissingError) -> ApiError:
        try:
            names = [agent["metadata"]["name"] for agent in self.list_agents(all_namespaces=False)]
        except ApiError:
            return error
        return agent_not_found(name, self._namespace, names)

    def list_agents(self, *, all_namespaces: bool) -> list[dict[str, Any]]:
        """AgentDeployments of the namespace, or of all."""
        namespace = None if all_namespaces else self._namespace

        def page(token: str | None) -> dict[str, Any]:
            options: dict[str, Any] = {"limit": PAGE_SIZE, "_continue": token, "_request_timeout": TIMEOUT}
            if namespace is None:
                return _document(self._custom.list_custom_object_for_all_namespaces(GROUP, VERSION, AGENTS, **options))
            return _document(self._custom.list_namespaced_custom_object(GROUP, VERSION, namespace, AGENTS, **options))

        return self._pages(Call("list", f"{AGENTS}.{GROUP}", namespace), page)

    def _pages(self, call: Call, page: Callable[[str | None], dict[str, Any]]) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        token: str | None = None
        for _ in range(MAX_PAGES):
            with _converted(call):
                answer = page(token)
            items.extend(answer["items"])
            token = answer["metadata"].get("continue")
            if not token:
                return items
        raise ApiError(f"more than {PAGE_SIZE * MAX_PAGES} objects: name a namespace")

    def send_command(self, name: str, command: str) -> None:
        """Set the annotation that the operator reads commands from."""
        try:
            self._annotate(name, command)
        except MissingError as error:
            raise self._not_found(name, error) from error

    def _annotate(self, name: str, command: str) -> None:
        patch = {"metadata": {"annotations": {COMMAND_ANNOTATION: command}}}
        with _converted(Call("patch", f"{AGENTS}.{GROUP}", self._namespace, name)):
            self._custom.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self._namespace,
                AGENTS,
                name,
                patch,
                field_manager=FIELD_MANAGER,
                _content_type=MERGE_PATCH,
                _request_timeout=TIMEOUT,
            )

    def get_route(self, name: str) -> Document | None:
        """The AgentRoute of an agent; None if there is none."""
        try:
            return self._get(ROUTES, name)
        except MissingError:
            return None

    def list_revisions(self, name: str) -> list[dict[str, Any]]:
        """ConfigMaps that record the revisions of an agent."""
        selector = f"{AGENT_LABEL}={name},{COMPONENT_LABEL}=revision"

        def page(token: str | None) -> dict[str, Any]:
            answer = self._core.list_namespaced_config_map(
                self._namespace,
                label_selector=selector,
                limit=PAGE_SIZE,
                _continue=token,
                _request_timeout=TIMEOUT,
            )
            return _document(self._api.sanitize_for_serialization(answer))  # type: ignore[no-untyped-call]

        return self._pages(Call("list", "configmaps", self._namespace), page)
