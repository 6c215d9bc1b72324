"""What is remembered of conversations, on a real Redis."""

from __future__ import annotations

import asyncio

import pytest

from agent_runtime.conversations.history import DELETED_AT_ONCE, ConversationStore, HistoryLimits
from agent_runtime.core.history import plan_summary, summary_message
from agent_runtime.core.loop import Message, ToolCall
from agent_runtime.store.connection import StoreUnavailable, open_memory_store, open_store
from tests.support.redis import running_redis, write_secret

ID = "support-5c9f0a1b2d.3.abcdefgh"


def turn(number, size=0):
    return (Message("user", f"question {number}" + "x" * size), Message("assistant", f"answer {number}"))


@pytest.fixture
def conversations(store):
    return ConversationStore(store)


async def test_turns_come_back_in_their_order_with_their_calls(conversations):
    calls = (ToolCall("c00100000", "kb_search", '{"q": "ü"}'),)
    long = (
        Message("user", "find \ud800 ü"),
        Message("assistant", "", calls),
        Message("tool", "found", tool_call_id="c00100000"),
        Message("assistant", "here"),
    )
    assert await conversations.append(ID, "ann", long)
    assert await conversations.append(ID, "ann", turn(2))
    assert await conversations.load(ID, "ann") == (*long, *turn(2))
    assert [past.number for past in await conversations.turns(ID, "ann")] == [1, 2]


MOVED = "support-0000000000.4.abcdefgh"


async def test_conversation_begins_with_what_was_said_in_the_one_that_it_continues(conversations):
    await conversations.append(ID, "ann", turn(1))
    await conversations.append(ID, "ann", turn(2))
    assert await conversations.continued(ID, MOVED, "ann")
    await conversations.append(MOVED, "ann", turn(3))
    assert await conversations.load(MOVED, "ann") == (*turn(1), *turn(2), *turn(3))
    assert [past.number for past in await conversations.turns(MOVED, "ann")] == [1, 2, 3]
    assert await conversations.load(ID, "ann") == (*turn(1), *turn(2))
    assert await conversations.delete_user("ann") == 2


async def test_only_the_newest_turns_are_carried_over_to_another_conversation(store):
    conversations = ConversationStore(store, HistoryLimits(max_carried_bytes=2500))
    for number in range(1, 6):
        await conversations.append(ID, "ann", turn(number, 1000))
    assert await conversations.continued(ID, MOVED, "ann")
    assert await conversations.load(MOVED, "ann") == (*turn(4, 1000), *turn(5, 1000))


async def test_conversation_that_has_begun_takes_in_no_other(conversations):
    await conversations.append(ID, "ann", turn(1))
    await conversations.append(MOVED, "ann", turn(2))
    assert not await conversations.continued(ID, MOVED, "ann")
    assert await conversations.load(MOVED, "ann") == turn(2)


async def test_nobody_continues_the_conversation_of_another_user(conversations):
    await conversations.append(ID, "ann", turn(1))
    assert not await conversations.continued(ID, MOVED, "bob")
    assert await conversations.load(MOVED, "bob") == ()


async def test_unknown_conversation_is_empty(conversations):
    assert await conversations.load(ID, "ann") == ()


async def test_another_user_with_the_same_id_reads_and_changes_nothing(conversations):
    await conversations.append(ID, "ann", turn(1))
    assert await conversations.load(ID, "bob") == ()
    await conversations.append(ID, "bob", turn(9))
    assert not await conversations.summarised(ID, "bob", 0, summary_message("x"))
    assert await conversations.delete(ID, "bob")
    assert await conversations.delete_user("bob") == 0
    assert await conversations.load(ID, "ann") == turn(1)


async def test_names_that_run_together_are_not_confused(conversations):
    await conversations.append("b:c", "a", turn(1))
    assert await conversations.load("c", "a:b") == ()
    assert await conversations.load('c", "', "a") == ()


async def test_turns_at_the_same_time_lose_nothing(conversations):
    await asyncio.gather(*(conversations.append(ID, "ann", turn(number)) for number in range(50)))
    turns = await conversations.turns(ID, "ann")
    assert [past.number for past in turns] == list(range(1, 51))
    assert {past.messages for past in turns} == {turn(number) for number in range(50)}


async def test_oldest_turns_go_when_there_are_too_many(store):
    conversations = ConversationStore(store, HistoryLimits(max_turns=3))
    for number in range(10):
        await conversations.append(ID, "ann", turn(number))
    assert await conversations.load(ID, "ann") == (*turn(7), *turn(8), *turn(9))


async def test_oldest_turns_go_when_they_are_too_large(store):
    conversations = ConversationStore(store, HistoryLimits(max_bytes=10_000))
    for number in range(10):
        await conversations.append(ID, "ann", turn(number, size=3000))
    assert [past.number for past in await conversations.turns(ID, "ann")] == [8, 9, 10]
    assert not await conversations.append(ID, "ann", turn(11, size=20_000))
    assert [past.number for past in await conversations.turns(ID, "ann")] == [8, 9, 10]


async def test_conversation_is_forgotten_some_time_after_its_last_turn(store):
    conversations = ConversationStore(store, HistoryLimits(ttl_seconds=1.0))
    for number in range(4):
        await conversations.append(ID, "ann", turn(number))
        await asyncio.sleep(0.4)
    assert len(await conversations.turns(ID, "ann")) == 4
    await asyncio.sleep(1.1)
    assert await conversations.load(ID, "ann") == ()
    assert [name async for name in store.client.scan_iter("*")] == []


async def test_summary_stands_in_the_place_of_what_it_sums_up(conversations):
    for number in range(20):
        await conversations.append(ID, "ann", turn(number, size=400))
    plan = plan_summary(await conversations.turns(ID, "ann"), 1000)
    await conversations.append(ID, "ann", turn(20))
    assert await conversations.summarised(ID, "ann", plan.through, summary_message("much"))
    turns = await conversations.turns(ID, "ann")
    assert turns[0].messages == (summary_message("much"),)
    assert turns[1 : 1 + len(plan.recent)] == plan.recent
    assert turns[-1].messages == turn(20)


async def test_summary_of_turns_that_were_summed_up_further_changes_nothing(conversations):
    for number in range(5):
        await conversations.append(ID, "ann", turn(number))
    assert await conversations.summarised(ID, "ann", 4, summary_message("four"))
    before = await conversations.load(ID, "ann")
    assert not await conversations.summarised(ID, "ann", 2, summary_message("two"))
    assert await conversations.load(ID, "ann") == before == (summary_message("four"), *turn(4))


async def test_summaries_at_the_same_time_lose_no_later_turn(conversations):
    for number in range(8):
        await conversations.append(ID, "ann", turn(number))
    await asyncio.gather(
        *(conversations.summarised(ID, "ann", through, summary_message(str(through))) for through in (3, 5, 4, 5)),
        *(conversations.append(ID, "ann", turn(number)) for number in (8, 9)),
    )
    spoken = await conversations.load(ID, "ann")
    assert spoken[0] == summary_message("5")
    assert set(spoken[1:]) == {message for number in range(5, 10) for message in turn(number)}


async def test_summary_of_everything_is_forgotten_in_time_too(store):
    conversations = ConversationStore(store, HistoryLimits(ttl_seconds=0.5))
    await conversations.append(ID, "ann", turn(1))
    await conversations.summarised(ID, "ann", 1, summary_message("all"))
    await asyncio.sleep(0.7)
    assert await conversations.load(ID, "ann") == ()


async def test_deleting_a_user_deletes_all_of_hers_and_nothing_else(conversations, store):
    for number in range(DELETED_AT_ONCE + 3):
        await conversations.append(f"{ID}{number}", "ann", turn(number))
    await conversations.append(ID, "bob", turn(1))
    assert await conversations.delete_user("ann") == DELETED_AT_ONCE + 3
    assert await conversations.load(f"{ID}0", "ann") == ()
    assert await conversations.load(ID, "bob") == turn(1)
    assert await conversations.delete_user("ann") == 0
    assert len([name async for name in store.client.scan_iter("*")]) == 3


async def test_deleting_one_conversation_leaves_the_others(conversations):
    await conversations.append(ID, "ann", turn(1))
    await conversations.append(ID + "2", "ann", turn(2))
    assert await conversations.delete(ID, "ann")
    assert not await conversations.delete(ID, "ann")
    assert await conversations.load(ID + "2", "ann") == turn(2)
    assert await conversations.delete_user("ann") == 1


async def test_no_key_tells_who_said_it_and_all_lie_in_the_slot(conversations, store):
    await conversations.append(ID, "ann@example.com", turn(1))
    names = [name.decode() async for name in store.client.scan_iter("*")]
    assert len(names) == 3
    assert all(name.startswith("{greylag:team-a}:support:conversation") for name in names)
    assert not any("ann" in name or ID in name for name in names)


async def test_store_that_is_away_is_no_empty_conversation(tmp_path):
    with running_redis(tmp_path / "redis") as server:
        store = open_store(write_secret(tmp_path / "secret", server.url), "team-a", "support")
        conversations = ConversationStore(store)
        await conversations.append(ID, "ann", turn(1))
        server.stop()
        with pytest.raises(StoreUnavailable):
            await conversations.load(ID, "ann")
        with pytest.raises(StoreUnavailable):
            await conversations.append(ID, "ann", turn(2))
        await store.aclose()


async def test_everything_runs_in_the_store_of_local_development_too():
    store = open_memory_store("team-a", "support")
    conversations = ConversationStore(store, HistoryLimits(max_turns=2))
    for number in range(3):
        await conversations.append(ID, "ann", turn(number))
    assert await conversations.summarised(ID, "ann", 2, summary_message("s"))
    assert await conversations.load(ID, "ann") == (summary_message("s"), *turn(2))
    assert await conversations.delete_user("ann") == 1
    await store.aclose()
