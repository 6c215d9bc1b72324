"""The `openai` client at a real Envoy, with two revisions of an agent behind it: the same client for all users."""

from __future__ import annotations

import asyncio
from itertools import product

import openai
import pytest

from tests.integration.gateway.conftest import AGENT, lab

__all__ = ["lab"]

USERS = tuple(f"user-{number}" for number in range(20))
ROUNDS = 3


@pytest.fixture(scope="module")
def pods(start_lasting_agent):
    """One pod of each revision, by the revision's name."""
    started = [start_lasting_agent(model=model) for model in ("good-v1", "good-v2")]
    return {pod.get("/ready")["revision"]: pod for pod in started}


@pytest.fixture
def serve(lab, pods):
    """Puts both revisions in force, half and half."""

    async def put(**options):
        stable, canary = pods
        for name, pod in pods.items():
            lab.put_endpoints(f"{AGENT}-{name}", pod.port)
        roles = {stable: "Stable", canary: "Canary"}
        revisions = [{"name": n, "service": f"{AGENT}-{n}", "weight": 50, "role": roles[n]} for n in pods]
        await lab.apply(lab.route({"v1": 100}, revisions=revisions, **options))

    return put


@pytest.fixture
def connect_to():
    made = []

    def connect(url):
        made.append(openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=20))
        return made[-1]

    yield connect
    for client in made:
        client.close()


def say(client, text="Hello", model=AGENT, **headers):
    return client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": text}], extra_headers=headers
    )


async def test_user_keeps_a_revision_and_none_takes_anothers(lab, pods, serve, connect_to):
    await serve(stickiness="User")
    client = connect_to(lab.url("/v1"))

    def converse():
        return [
            (user, say(client, **{"x-user-id": user}).headers["x-greylag-revision"])
            for _, user in product(range(ROUNDS), USERS)
        ]

    seen = await asyncio.to_thread(converse)
    revisions = {user: {revision for who, revision in seen if who == user} for user in USERS}
    assert all(len(found) == 1 for found in revisions.values())
    assert set().union(*revisions.values()) == set(pods)


async def test_calls_of_one_client_are_split_anew_each_time(lab, pods, serve, connect_to):
    await serve()
    client = connect_to(lab.url("/v1"))
    answers = await asyncio.to_thread(lambda: [say(client) for _ in range(40)])
    assert {answer.headers["x-greylag-revision"] for answer in answers} == set(pods)
    assert not any("set-cookie" in answer.headers for answer in answers)


async def test_conversation_id_that_comes_back_keeps_its_revision(lab, serve, connect_to):
    await serve()
    client = connect_to(lab.url("/v1"))

    def converse():
        first = {user: say(client).headers for user in USERS}
        return first, {
            user: say(client, **{"x-conversation-id": first[user]["x-conversation-id"]}).headers
            for user in reversed(USERS)
        }

    first, second = await asyncio.to_thread(converse)
    for name, user in product(("x-conversation-id", "x-greylag-revision"), USERS):
        assert first[user][name] == second[user][name]


async def test_stream_comes_through_in_parts(lab, serve, connect_to):
    await serve()
    client = connect_to(lab.url("/v1"))

    def stream():
        messages = [{"role": "user", "content": "Hello"}]
        chunks = client.chat.completions.create(model=AGENT, messages=messages, stream=True)
        return [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]

    texts = await asyncio.to_thread(stream)
    assert len(texts) > 1
    assert "".join(texts).endswith("answers: Hello")


async def test_front_door_serves_the_same_client_by_the_agents_name(lab, pods, serve, connect_to):
    await serve()
    client = connect_to(lab.door("/v1"))
    models = await asyncio.to_thread(lambda: [model.id for model in client.models.list()])
    answer = await asyncio.to_thread(lambda: say(client))
    assert models == [AGENT]
    assert answer.headers["x-greylag-revision"] in pods
    with pytest.raises(openai.NotFoundError) as refused:
        await asyncio.to_thread(lambda: say(client, model="nobody"))
    assert refused.value.code == "unknown-agent"


async def test_suspended_agent_is_an_internal_server_error_that_says_so(lab, serve, connect_to):
    await serve(suspended=True)
    client = connect_to(lab.url("/v1"))
    with pytest.raises(openai.InternalServerError) as refused:
        await asyncio.to_thread(lambda: say(client))
    assert refused.value.status_code == 503
    assert refused.value.code == "agent-suspended"


async def test_agent_without_pods_is_an_internal_server_error_that_says_so(lab, connect_to):
    item = lab.route({"v1": 100})
    item["spec"]["revisions"][0] |= {"name": "v9", "service": "nobody"}
    await lab.apply(item)
    client = connect_to(lab.url("/v1"))
    with pytest.raises(openai.InternalServerError) as refused:
        await asyncio.to_thread(lambda: say(client))
    assert (refused.value.status_code, refused.value.code) == (503, "upstream-unavailable")
    assert refused.value.body["message"]
    assert refused.value.response.json()["request_id"]
