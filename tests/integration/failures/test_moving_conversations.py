"""Conversations that go on at another revision, asked of real processes by HTTP."""

from __future__ import annotations

import pytest

from tests.support.faulty_provider import answers, refuses
from tests.support.runtimes import document_of, endpoint_of

ONCE = {"maxAttempts": 1}


@pytest.fixture
def revisions(start_runtime, provider, standing_redis):
    """Starts two revisions of one agent."""

    async def start():
        document = document_of(endpoint_of("gpt-x", provider.base_url), retry=ONCE)
        other = {**document, "revision": "support-0000000000"}
        return [await start_runtime(one, store=standing_redis) for one in (document, other)]

    return start


def told(provider):
    """What the model was told last, without the instructions."""
    return [message["content"] for message in provider.calls[-1].body["messages"]][1:]


async def say(runtime, query, conversation=None):
    status, headers, _ = await runtime.run({"query": query, "conversation_id": conversation})
    return status, headers["x-conversation-id"]


async def test_conversation_that_moved_is_remembered_in_all_its_turns(revisions, provider):
    provider.script("gpt-x", answers("yes"))
    old, new = await revisions()
    _, first = await say(old, "one")
    await say(old, "two", first)
    _, moved = await say(new, "three", first)
    assert moved.startswith("support-0000000000.")
    assert told(provider) == ["one", "yes", "two", "yes", "three"]
    _, again = await say(new, "four", moved)
    assert again == moved
    assert told(provider) == ["one", "yes", "two", "yes", "three", "yes", "four"]


async def test_conversation_whose_first_run_after_it_moved_failed_loses_nothing(revisions, provider):
    provider.script("gpt-x", answers("yes"), refuses(400), answers("yes"))
    old, new = await revisions()
    _, first = await say(old, "one")
    status, moved = await say(new, "two", first)
    assert status == 502
    await say(new, "three", moved)
    assert told(provider) == ["one", "yes", "three"]


async def test_conversation_of_another_user_moves_nowhere(revisions, provider):
    old, new = await revisions()
    _, headers, _ = await old.run({"query": "one", "user_id": "ann"})
    first = headers["x-conversation-id"]
    _, headers, _ = await new.run({"query": "two", "user_id": "bob", "conversation_id": first})
    await new.run({"query": "three", "user_id": "bob", "conversation_id": headers["x-conversation-id"]})
    assert "one" not in told(provider)
