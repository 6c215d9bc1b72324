"""The key of conversation ids: one for all pods, on a real Redis."""

from __future__ import annotations

import asyncio

import pytest

from agent_api.placement import Placement
from agent_runtime.conversations.keys import KEY_BYTES, ConversationKeys, new_key
from agent_runtime.core.conversation_ids import ConversationIds
from agent_runtime.store.connection import StoreUnavailable, open_store
from tests.support.redis import write_secret

REVISION = "support-5c9f0a1b2d"
RANDOM = bytes(12)


class Pod:
    """One pod's ids and keys."""

    def __init__(self, store):
        self.ids = ConversationIds(REVISION, (new_key(),))
        self.keys = ConversationKeys(store, self.ids)

    def mints(self):
        return str(self.ids.begun(1, RANDOM, Placement.SPLIT))

    def knows(self, minted):
        return self.ids.continued(minted) is not None


async def test_pods_that_start_together_share_one_key(store):
    pods = [Pod(store) for _ in range(8)]
    assert not any(pod.keys.shared for pod in pods)
    await asyncio.gather(*(pod.keys.read() for pod in pods))
    assert all(pod.keys.shared and pod.knows(pods[0].mints()) for pod in pods)


async def test_pods_of_another_agent_have_another_key(store, redis_server, tmp_path):
    other = open_store(write_secret(tmp_path / "other", redis_server.url), "team-a", "billing")
    pods = [Pod(store), Pod(other)]
    await asyncio.gather(*(pod.keys.read() for pod in pods))
    await other.aclose()
    assert not pods[1].knows(pods[0].mints())


async def test_a_store_that_lost_its_data_gets_the_key_back(store, redis_server):
    old, young = Pod(store), Pod(store)
    await old.keys.read()
    minted = old.mints()
    redis_server.flush()
    await old.keys.read()
    await young.keys.read()
    assert young.knows(minted)


async def test_ids_of_a_lost_key_are_known_to_pods_that_had_it(store, redis_server):
    old, young = Pod(store), Pod(store)
    await old.keys.read()
    minted = old.mints()
    redis_server.flush()
    await young.keys.read()
    await old.keys.read()
    assert old.knows(minted)
    assert young.knows(old.mints())


@pytest.mark.parametrize("damaged", [b"", b"zz", b"00", b"\xff"])
async def test_a_damaged_key_is_replaced(store, damaged):
    await store.client.set(store.key("conversation-key"), damaged)
    pod = Pod(store)
    await pod.keys.read()
    assert len(bytes.fromhex((await store.client.get(store.key("conversation-key"))).decode())) == KEY_BYTES
    assert pod.keys.shared


async def test_while_the_store_is_away_there_is_no_shared_key(tmp_path):
    away = open_store(write_secret(tmp_path / "secret", "redis://127.0.0.1:1"), "team-a", "support")
    pod = Pod(away)
    with pytest.raises(StoreUnavailable):
        await pod.keys.read()
    assert not pod.keys.shared
    await away.aclose()
