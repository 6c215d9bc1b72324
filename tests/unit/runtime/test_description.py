"""What the OpenAPI description says of credentials and headers that no route declares by itself."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from agent_runtime.app import create_app
from agent_runtime.routes.description import with_callers


@pytest.fixture(scope="module")
def described():
    return create_app(MagicMock()).openapi()


def headers_of(operation):
    return [item["name"] for item in operation.get("parameters", ()) if item["in"] == "header"]


def test_both_ways_to_send_a_credential_are_described(described):
    schemes = described["components"]["securitySchemes"]
    assert {name: scheme["type"] for name, scheme in schemes.items()} == {"bearer": "http", "apiKey": "apiKey"}
    assert (schemes["bearer"]["scheme"], schemes["apiKey"]["name"]) == ("bearer", "x-api-key")


def test_every_operation_of_callers_may_need_a_credential_and_no_other_does(described):
    for path, operations in described["paths"].items():
        for operation in operations.values():
            asked = operation.get("security")
            assert asked == ([{}, {"bearer": []}, {"apiKey": []}] if path.startswith(("/agent", "/v1")) else None), path


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("post", "/agent/run", ["x-user-id", "x-conversation-id"]),
        ("post", "/v1/chat/completions", ["x-user-id", "x-conversation-id"]),
        ("post", "/agent/tasks", ["Idempotency-Key", "x-user-id", "x-conversation-id"]),
        ("get", "/agent/tasks", ["x-user-id"]),
        ("get", "/agent/tasks/{task_id}/events", ["Last-Event-ID", "x-user-id"]),
        ("delete", "/agent/conversations", ["x-user-id"]),
        ("get", "/v1/models", []),
        ("get", "/health", []),
    ],
)
def test_operation_names_the_headers_that_it_reads(described, method, path, headers):
    assert headers_of(described["paths"][path][method]) == headers


def test_list_of_tasks_names_its_parameters(described):
    parameters = described["paths"]["/agent/tasks"]["get"]["parameters"]
    assert [item["name"] for item in parameters if item["in"] == "query"] == ["status", "limit", "user_id"]


def test_description_that_is_given_stays_as_it_was():
    given = {"paths": {"/agent/run": {"post": {}}}}
    assert with_callers(given)["paths"]["/agent/run"]["post"]["parameters"]
    assert given == {"paths": {"/agent/run": {"post": {}}}}


def test_description_is_made_once():
    app = create_app(MagicMock())
    assert app.openapi() is app.openapi()
