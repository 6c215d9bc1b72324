"""One `openai` client serves many users in turn, as a backend does: nothing of one reaches another."""

from __future__ import annotations

import asyncio
from itertools import product

import pytest
import pytest_asyncio

from tests.support.faulty_provider import faulty_provider

USERS = tuple(f"user-{number}" for number in range(20))
ROUNDS = 3
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing_provider():
    async with faulty_provider() as started:
        yield started


@pytest.fixture
def provider(standing_provider):
    """A provider that keeps what it was sent in this test."""
    standing_provider.calls.clear()
    return standing_provider


@pytest.fixture(scope="module")
def agent_of_many(standing_provider, start_lasting_agent):
    return start_lasting_agent(provider_url=standing_provider.base_url)


@pytest.fixture
def client(agent_of_many, connect):
    return connect(agent_of_many)


def say(client, user, text, **headers):
    return client.chat.completions.with_raw_response.create(
        model="support", messages=[{"role": "user", "content": text}], user=user, extra_headers=headers
    )


def run(client, user, text, conversation=None):
    """The agent's own protocol, by the same client and so over the same connections."""
    body = {"query": text, "user_id": user}
    if conversation is not None:
        body["conversation_id"] = conversation
    return client.post("../agent/run", body=body, cast_to=dict)


def spoken(provider):
    """What models were sent beside instructions, a list of texts for each call."""
    return [[m["content"] for m in call.body["messages"] if m["role"] != "system"] for call in provider.calls]


async def test_model_is_sent_what_the_present_user_said_and_nothing_else(client, provider):
    def converse():
        for turn, user in product(range(ROUNDS), USERS):
            say(client, user, f"{user} says {turn}")

    await asyncio.to_thread(converse)
    assert spoken(provider) == [[f"{user} says {turn}"] for turn in range(ROUNDS) for user in USERS]


async def test_each_call_is_a_conversation_of_its_own_and_no_cookie_joins_them(client):
    answers = await asyncio.to_thread(lambda: [say(client, user, "Hello") for user in USERS for _ in range(ROUNDS)])
    assert len({answer.headers["x-conversation-id"] for answer in answers}) == len(USERS) * ROUNDS
    assert not any("set-cookie" in answer.headers for answer in answers)


async def test_user_who_sends_a_conversation_id_back_keeps_it(client):
    def converse():
        mine = {user: say(client, user, "Hello").headers["x-conversation-id"] for user in USERS}
        again = {user: say(client, user, "And?", **{"x-conversation-id": mine[user]}) for user in reversed(USERS)}
        return mine, {user: answer.headers["x-conversation-id"] for user, answer in again.items()}

    mine, again = await asyncio.to_thread(converse)
    assert mine == again


async def test_remembered_conversation_is_told_to_its_own_user_alone(client, provider):
    def converse():
        first = {user: run(client, user, f"I am {user}")["conversation_id"] for user in USERS}
        for user in reversed(USERS):
            run(client, user, "Who am I?", first[user])

    await asyncio.to_thread(converse)
    second = spoken(provider)[len(USERS) :]
    assert second == [[f"I am {user}", "Hello, world", "Who am I?"] for user in reversed(USERS)]


async def test_id_of_another_users_conversation_brings_none_of_it(client, provider):
    def steal():
        theirs = run(client, "user-1", "My secret is 42")["conversation_id"]
        run(client, "user-2", "What did I say?", theirs)
        say(client, "user-2", "And now?", **{"x-conversation-id": theirs})

    await asyncio.to_thread(steal)
    assert spoken(provider)[1:] == [["What did I say?"], ["And now?"]]
