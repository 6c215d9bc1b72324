"""Paths and methods of the whole application: what is served, and what is told of the rest."""

from __future__ import annotations

from http import HTTPStatus
from unittest.mock import MagicMock

import pytest
from fastapi.testclient import TestClient
from starlette.routing import Route

from agent_runtime.app import create_app
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.unserved import ServedPaths

CHAT = "POST /v1/chat/completions and GET /v1/models."


@pytest.fixture(scope="module")
def context():
    context = MagicMock()
    context.document.agent, context.document.revision = "shop", "shop-1"
    context.drain.begun = False
    context.unreadiness.return_value = []
    context.metrics.render.return_value = b"runs 1\n"
    return context


@pytest.fixture(scope="module")
def client(context):
    """A client of the application with all its routes, those of the store too."""
    return TestClient(create_app(context), follow_redirects=False)


def test_no_path_with_a_slash_at_its_end_is_redirected(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/agent/run", "/agent/tasks", "/v1/models"} <= set(paths)
    asked = [
        (method, path.format_map(dict.fromkeys(("task_id", "call_id", "conversation_id", "model_id"), "x")))
        for path, methods in paths.items()
        for method in methods
    ]
    for method, path in asked:
        answer = client.request(method, f"{path}/")
        assert (answer.status_code, "location" in answer.headers) == (404, False), path
        told = f"{method.upper()} {path}/ is not served; the path is {path}, without a slash at its end."
        assert answer.json()["detail"] == told


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v1/models"])
def test_head_is_answered_as_get_without_a_body(client, path):
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == whole.headers[name]


def test_head_of_a_process_that_is_not_ready_says_so(client, context):
    context.unreadiness.return_value = ["A key is missing"]
    assert client.head("/ready").status_code == 503
    context.unreadiness.return_value = []


def test_head_is_not_described_beside_get(client):
    assert set(client.get("/openapi.json").json()["paths"]["/health"]) == {"get"}


@pytest.mark.parametrize(
    ("method", "path", "instead"),
    [
        ("POST", "/v1/responses", f"the agent answers {CHAT}"),
        ("POST", "/v1/embeddings", f"the agent answers {CHAT}"),
        ("GET", "/v1", f"the agent answers {CHAT}"),
        ("POST", "/v1/v1/chat/completions", f"the agent answers {CHAT}"),
        ("POST", "/chat/completions", "the base URL of an OpenAI client must end in /v1."),
        ("GET", "/models", "the base URL of an OpenAI client must end in /v1."),
        ("GET", "/models/shop", "the base URL of an OpenAI client must end in /v1."),
    ],
)
def test_path_that_clients_of_the_openai_protocol_miss_is_told_in_their_error(client, method, path, instead):
    answer = client.request(method, path)
    document = answer.json()
    assert (answer.status_code, document["type"]) == (404, "urn:greylag:problem:not-found")
    assert document["detail"] == f"{method} {path} is not served; {instead}"
    assert document["error"] == {
        "message": document["detail"],
        "type": "not-found",
        "code": "not-found",
        "param": None,
    }


def test_other_path_is_told_with_where_to_look(client):
    document = client.get("/nothing").json()
    assert document["detail"] == "GET /nothing is not served; GET /openapi.json describes what is."
    assert "error" not in document


def test_long_path_is_told_by_its_beginning(client):
    assert len(client.get("/" + "x" * 5000).json()["detail"]) < 200


@pytest.mark.parametrize(
    ("method", "path", "taken"),
    [
        ("GET", "/agent/run", "POST"),
        ("DELETE", "/agent/tasks", "GET, POST"),
        ("GET", "/v1/chat/completions", "POST"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
def test_wrong_method_is_told_all_that_the_path_takes(client, method, path, taken):
    answer = client.request(method, path)
    document = answer.json()
    assert (answer.status_code, document["type"]) == (405, "urn:greylag:problem:method-not-allowed")
    assert document["detail"] == f"{method} {path} is not served; the path takes {taken}."
    assert answer.headers["allow"] == taken
    assert ("error" in document) == path.startswith("/v1/")


def test_agent_is_a_model_and_no_other_is(client):
    found = client.get("/v1/models/shop")
    assert found.json() == {"id": "shop", "object": "model", "created": 0, "owned_by": "greylag"}
    assert client.get("/v1/models").json()["data"] == [found.json()]
    missing = client.get("/v1/models/gpt-4")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:greylag:problem:not-found")
    assert missing.json()["detail"] == "There is no model gpt-4 here; the agent is the model shop."
    assert missing.json()["error"]["message"] == missing.json()["detail"]


def test_model_is_shown_only_to_who_is_let_in(client, context):
    context.access.authenticate.side_effect = Problem(ProblemType.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED, "Send a key.")
    refused = client.get("/v1/models/shop")
    context.access.authenticate.side_effect = None
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")


def test_methods_of_a_path_are_those_of_all_its_routes():
    async def nothing(_request):
        """Answer nothing."""

    routes = [Route("/a/{b}", nothing, methods=["DELETE"]), Route("/a/{c}", nothing, methods=["PUT"])]
    served = ServedPaths(routes)
    assert served.methods_of("/a/x") == ["DELETE", "PUT"]
    assert served.methods_of("/a/x/y") == []
