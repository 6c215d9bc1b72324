"""Users have forgotten what they said."""

from __future__ import annotations

from http import HTTPStatus
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from httpx2 import ASGITransport, AsyncClient

from agent_runtime.conversations.history import ConversationStore
from agent_runtime.core.conversation_ids import ConversationIds
from agent_runtime.core.loop import Message
from agent_runtime.envelope import Envelope
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.conversations import conversations_router
from agent_runtime.store.connection import open_memory_store, open_store
from tests.support.redis import write_secret

ALL = "/agent/conversations"
IDS = ConversationIds("support-5c9f0a1b2d", (b"k" * 32,))
TURN = (Message("user", "hi"), Message("assistant", "hello"))


async def by_bearer(request):
    if (given := request.headers.get("authorization")) is None:
        raise Problem(ProblemType.UNAUTHORIZED, HTTPStatus.UNAUTHORIZED, "Send a bearer token.")
    return given.removeprefix("Bearer ")


async def access_off(_request):
    return None


def client_of(store, authenticate):
    app = FastAPI()
    app.include_router(conversations_router(store, IDS, authenticate))
    app.add_middleware(Envelope, revision="support-5c9f0a1b2d", drain=SimpleNamespace(begun=False))
    return AsyncClient(transport=ASGITransport(app), base_url="http://agent")


@pytest.fixture
async def conversations():
    store = open_memory_store("team-a", "support")
    yield ConversationStore(store)
    await store.aclose()


async def test_user_deletes_all_that_is_hers(conversations):
    for user, name in (("ann", "a.1.x"), ("ann", "a.1.y"), ("bob", "a.1.x")):
        await conversations.append(name, user, TURN)
    async with client_of(conversations, by_bearer) as client:
        answer = await client.delete(ALL, headers={"authorization": "Bearer ann"})
    assert (answer.status_code, answer.json()) == (200, {"deleted": 2})
    assert await conversations.load("a.1.x", "ann") == ()
    assert await conversations.load("a.1.x", "bob") == TURN


async def test_user_deletes_one(conversations):
    for name in ("a.1.x", "a.1.y"):
        await conversations.append(name, "ann", TURN)
    async with client_of(conversations, by_bearer) as client:
        for expected in (1, 0):
            answer = await client.delete(f"{ALL}/a.1.x", headers={"authorization": "Bearer ann"})
            assert (answer.status_code, answer.json()) == (200, {"deleted": expected})
    assert await conversations.load("a.1.y", "ann") == TURN


async def test_user_deletes_what_was_said_under_an_id_of_her_own(conversations):
    kept = str(IDS.of_foreign("session-4711", "ann"))
    await conversations.append(kept, "ann", TURN)
    async with client_of(conversations, by_bearer) as client:
        answer = await client.delete(f"{ALL}/session-4711", headers={"authorization": "Bearer ann"})
    assert answer.json() == {"deleted": 1}
    assert await conversations.load(kept, "ann") == ()


async def test_nobody_deletes_what_another_said(conversations):
    await conversations.append("a.1.x", "ann", TURN)
    async with client_of(conversations, by_bearer) as client:
        answer = await client.delete(f"{ALL}/a.1.x", headers={"authorization": "Bearer bob"})
        assert answer.json() == {"deleted": 0}
        assert (await client.delete(ALL)).status_code == 401
    assert await conversations.load("a.1.x", "ann") == TURN


async def test_anonymous_callers_cannot_delete_what_all_of_them_said(conversations):
    await conversations.append("a.1.x", "anonymous", TURN)
    await conversations.append("a.1.y", "carl", TURN)
    async with client_of(conversations, access_off) as client:
        answer = await client.delete(ALL)
        assert answer.status_code == 400
        assert "x-user-id" in answer.json()["detail"]
        assert (await client.delete(ALL, headers={"x-user-id": "carl"})).json() == {"deleted": 1}
        assert (await client.delete(f"{ALL}/a.1.x")).json() == {"deleted": 1}


async def test_user_of_the_header_is_the_one_of_the_body_whatever_letters_he_has(conversations):
    await conversations.append("a.1.x", "José", TURN)
    async with client_of(conversations, access_off) as client:
        answer = await client.delete(ALL, headers={"x-user-id": "José".encode()})
        assert answer.json() == {"deleted": 1}
        answer = await client.delete(ALL, headers={"x-user-id": b"Jos\xe9"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "x-user-id")


async def test_store_that_is_away_is_a_problem(tmp_path):
    store = open_store(write_secret(tmp_path / "secret", "redis://127.0.0.1:1/0"), "team-a", "support")
    async with client_of(ConversationStore(store), by_bearer) as client:
        answer = await client.delete(ALL, headers={"authorization": "Bearer ann"})
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:greylag:problem:store-unavailable")
    await store.aclose()
