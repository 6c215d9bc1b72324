"""The OpenAPI description that the Kubernetes API server publishes of itself, and calls of its operations."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from kubernetes import client, config

TIMEOUT_SECONDS = 15
ACCOUNT = "agent"
ALLOWED = ("readCoreV1Namespace", "createCoreV1NamespacedConfigMap", "listCoreV1NamespacedSecret")


@dataclass(frozen=True)
class Place:
    """A namespace, and an account that may edit ConfigMaps there and read the namespace."""

    namespace: str
    server: str
    ca_file: str
    token: str = field(repr=False)


def _grant(api: client.ApiClient, namespace: str) -> None:
    core, rights = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
    core.create_namespace({"metadata": {"name": namespace}}, _request_timeout=TIMEOUT_SECONDS)
    core.create_namespaced_service_account(namespace, {"metadata": {"name": ACCOUNT}}, _request_timeout=TIMEOUT_SECONDS)
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
    ]
    metadata = {"name": ACCOUNT, "namespace": namespace}
    rights.create_namespaced_role(namespace, {"metadata": metadata, "rules": rules}, _request_timeout=TIMEOUT_SECONDS)
    binding = {
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }
    rights.create_namespaced_role_binding(namespace, binding, _request_timeout=TIMEOUT_SECONDS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[client.ApiClient]:
    with config.new_client_from_config() as api:
        yield api


@pytest.fixture(scope="module")
def place(cluster, tmp_path_factory) -> Iterator[Place]:
    namespace = f"foreign-{uuid.uuid4().hex[:8]}"
    core = client.CoreV1Api(cluster)
    _grant(cluster, namespace)
    try:
        request = {"spec": {"expirationSeconds": 3600, "audiences": []}}
        token = core.create_namespaced_service_account_token(
            ACCOUNT, namespace, request, _request_timeout=TIMEOUT_SECONDS
        ).status.token
        yield Place(namespace, cluster.configuration.host, cluster.configuration.ssl_ca_cert, token)
    finally:
        core.delete_namespace(namespace, _request_timeout=TIMEOUT_SECONDS)


@pytest.fixture(scope="module")
def agent(start_lasting_agent, place):
    headers = [{"name": "Authorization", "secretKeyRef": {"name": "cluster", "key": "authorization"}}]
    api = {
        "openAPI": {"url": f"{place.server}/openapi/v3/api/v1"},
        "baseURL": place.server,
        "headersFrom": headers,
    }
    return start_lasting_agent(
        tools=[{"name": "cluster", "http": api}],
        toolPolicy={"rules": [{"tools": [f"cluster.{name}" for name in ALLOWED], "action": "Allow"}]},
        secrets={("cluster", "authorization"): f"Bearer {place.token}"},
        environment={"SSL_CERT_FILE": place.ca_file},
    )


def call(operation, **arguments):
    return f"Please. [[call {operation} {json.dumps(arguments)}]]"


def outcomes(answer):
    return [(call["name"], call["outcome"]) for call in answer["tool_calls"]]


def test_operation_is_called_with_its_path_and_the_secret_header(agent, place, run_once):
    answer = run_once(agent, call("readCoreV1Namespace", name=place.namespace))
    assert outcomes(answer) == [("cluster.readCoreV1Namespace", "ok")]
    assert f'"name":"{place.namespace}"' in answer["answer"]


def test_operation_with_a_body_makes_what_it_says(agent, place, run_once, cluster):
    metadata, data = {"name": "made-by-an-agent"}, {"colour": "grey"}
    query = call("createCoreV1NamespacedConfigMap", namespace=place.namespace, metadata=metadata, data=data)
    assert outcomes(run_once(agent, query)) == [("cluster.createCoreV1NamespacedConfigMap", "ok")]
    made = client.CoreV1Api(cluster).read_namespaced_config_map(
        "made-by-an-agent", place.namespace, _request_timeout=TIMEOUT_SECONDS
    )
    assert made.data == data


def test_refusal_of_the_api_is_told_to_the_model(agent, place, run_once):
    answer = run_once(agent, call("listCoreV1NamespacedSecret", namespace=place.namespace))
    assert outcomes(answer) == [("cluster.listCoreV1NamespacedSecret", "failed")]
    assert "403" in answer["answer"]


@pytest.mark.parametrize("name", ["deleteCoreV1Namespace", "readCoreV1NamespacedSecret"])
def test_operation_that_the_policy_does_not_name_is_not_offered(agent, run_once, name):
    assert [outcome for _, outcome in outcomes(run_once(agent, call(name, name="default")))] == ["unknown_tool"]


def test_token_is_in_no_line_of_the_log(agent, place, run_once):
    run_once(agent, call("readCoreV1Namespace", name=place.namespace))
    assert place.token not in agent.output()
