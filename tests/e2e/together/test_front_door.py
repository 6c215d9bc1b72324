"""One Service reaches every agent of a namespace: by path, by model, whole and streamed, also by the openai client."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

import openai
import pytest

from tests.support.asking import ask, request
from tests.support.lab import Team
from tests.support.shop import Shop, call

NAMES = ("anna", "bert", "cleo", "dora", "emil")
SUSPENDED = "emil"
SERVING = NAMES[:-1]
CHAT = "/v1/chat/completions"
SLOW_SECONDS = 8


def _door(team: Team) -> str:
    path = f"/api/v1/namespaces/{team.namespace}/services/greylag"
    service = team.wait_for("Service greylag", lambda: team.find(path))
    return f"http://{service['spec']['clusterIP']}"


def _health(door: str) -> dict[str, str]:
    try:
        agents = request(f"{door}/agents").document["agents"]
    except OSError:
        return {}
    return {agent["name"]: agent["health"] for agent in agents}


def _chat(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}]}


async def _openai(base_url: str, model: str) -> tuple[str, str]:
    """Text of a whole answer, and of a streamed one."""
    async with openai.AsyncOpenAI(base_url=f"{base_url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        whole = await client.chat.completions.create(**_chat(model))
        chunks = await client.chat.completions.create(**_chat(model), stream=True)
        parts = [chunk.choices[0].delta.content or "" async for chunk in chunks]
    assert len([part for part in parts if part]) > 1
    return whole.choices[0].message.content or "", "".join(parts)


@pytest.mark.timeout(240)
async def test_one_address_serves_all_agents_of_a_namespace(team: Team) -> None:
    for name in NAMES:
        manifest = team.agent(name, model=f"good-{name}", suspend=name == SUSPENDED)
        manifest["spec"]["agent"]["description"] = f"It is {name}."
        team.apply(manifest)
    for name in SERVING:
        team.wait_phase(name, "Healthy", 120)
    door = _door(team)
    expected = dict.fromkeys(SERVING, "serving") | {SUSPENDED: "suspended"}
    team.wait_for("all agents at the front door", lambda: _health(door) == expected, 30)

    listed = {agent["name"]: agent for agent in request(f"{door}/agents").document["agents"]}
    assert listed["anna"] == {
        "name": "anna",
        "description": "It is anna.",
        "health": "serving",
        "path": "/agents/anna",
    }
    models = request(f"{door}/v1/models").document["data"]
    assert sorted(model["id"] for model in models) == sorted(NAMES)

    for name in SERVING:
        run = ask(f"{door}/agents/{name}")
        assert (run.status, run.document["answer"]) == (200, f"good-{name} answers: hello")
        revision = team.status(name)["stableRevision"]
        assert (run.document["revision"], run.headers["x-greylag-revision"]) == (revision, revision)
        chat = request(door + CHAT, _chat(name))
        assert (chat.status, chat.headers["x-greylag-revision"]) == (200, revision)
        assert chat.document["choices"][0]["message"]["content"] == f"good-{name} answers: hello"
        assert await _openai(door, name) == (f"good-{name} answers: hello",) * 2
    assert await _openai(team.url("anna"), "anna") == ("good-anna answers: hello",) * 2

    for refused in (ask(f"{door}/agents/{SUSPENDED}"), request(door + CHAT, _chat(SUSPENDED))):
        assert (refused.status, refused.kind) == (503, "agent-suspended")
    for refused in (ask(f"{door}/agents/nobody"), request(door + CHAT, _chat("nobody"))):
        assert (refused.status, refused.kind) == (404, "unknown-agent")
    assert request(door + CHAT, {"messages": []}).kind == "model-missing"
    assert request(f"{door}/agents/anna/metrics").status == 404


@pytest.mark.timeout(180)
def test_an_agent_that_goes_leaves_the_streams_of_others_alone(team: Team) -> None:
    shop = Shop(team)
    policy = {"rules": [{"tools": ["shop.*"], "action": "Allow"}]}
    team.apply(team.agent("anna", tools=[shop.api()], toolPolicy=policy), team.agent("bert"))
    for name in ("anna", "bert"):
        team.wait_phase(name, "Healthy")
    door = _door(team)
    team.wait_for("two agents", lambda: _health(door) == {"anna": "serving", "bert": "serving"}, 30)
    body = json.dumps({"query": call("waitSeconds", seconds=SLOW_SECONDS), "stream": True}).encode()
    sent = urllib.request.Request(f"{door}/agents/anna/agent/run", body, {"content-type": "application/json"})  # noqa: S310 - an address of our own making
    began = time.monotonic()
    with urllib.request.urlopen(sent, timeout=30) as stream:  # noqa: S310 - as above
        assert stream.readline() == b"event: run.started\n"
        team.lab.api.delete(f"/apis/greylag.dev/v1alpha1/namespaces/{team.namespace}/agentdeployments/bert")
        team.wait_for("one agent", lambda: _health(door) == {"anna": "serving"}, 30)
        gone_after = time.monotonic() - began
        rest = stream.read()
    assert gone_after < SLOW_SECONDS <= time.monotonic() - began
    assert b"event: completed\n" in rest
    gone = ask(f"{door}/agents/bert")
    assert (gone.status, gone.kind) == (404, "unknown-agent")
    assert ask(f"{door}/agents/anna").status == 200
