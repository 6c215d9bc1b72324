"""Answers from memory, without a store and on one in memory."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from agent_runtime.cache import answers
from agent_runtime.cache.answers import (
    MAX_ANSWER_BYTES,
    AnswerCache,
    CachedAnswer,
    cacheable,
    decode_answer,
    encode_answer,
)
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.store.connection import open_memory_store
from tests.support.forgone_answers import asked, until

ANSWER = CachedAnswer("Hello", "gpt-4o", 2)


class StoreAway:
    """A store that cannot be reached."""

    def key(self, *parts):
        return ":".join(parts)

    @property
    def client(self):
        raise StoreUnavailable("store is away", tried=False)

    def script(self, _source):
        async def call(_keys, _args):
            raise StoreUnavailable("store is away", tried=False)

        return call


@pytest.fixture
async def cache():
    store = open_memory_store("team-a", "support")
    yield AnswerCache(store, 60)
    await store.aclose()


async def kept(cache, key):
    """What is kept under a key, as a question that waits for nobody finds it."""
    async with cache.claim(key, 0.0) as claim:
        return claim.hit


@pytest.mark.parametrize("answer", [ANSWER, CachedAnswer("", "m")])
def test_kept_answer_comes_back_as_it_was(answer):
    assert decode_answer(encode_answer(answer)) == answer


@pytest.mark.parametrize(
    "value",
    [b"", b"{", b"[]", b"null", b"7", b"{}", b'{"form":1}', b'{"form":1,"more":7,"text":"","model":""}'],
)
def test_value_that_is_no_answer_is_none(value):
    assert decode_answer(value) is None


def test_answer_of_another_release_is_none():
    assert decode_answer(orjson.dumps(orjson.loads(encode_answer(ANSWER)) | {"form": 2})) is None


@pytest.mark.parametrize(
    ("finish_reason", "tool_calls", "expected"),
    [("stop", 0, True), ("stop", 1, False), ("length", 0, False), ("content_filter", 0, False), ("", 0, False)],
)
def test_only_complete_answers_made_without_tools_are_kept(finish_reason, tool_calls, expected):
    assert cacheable(finish_reason, tool_calls) is expected


async def test_answer_that_was_put_is_found(cache):
    assert await kept(cache, "k") is None
    assert await cache.put("k", ANSWER)
    hit = await kept(cache, "k")
    assert hit.answer == ANSWER
    assert 0 <= hit.age_seconds < 5
    assert await kept(cache, "other") is None


async def test_too_large_answer_is_not_kept(cache):
    assert not await cache.put("k", CachedAnswer("x" * MAX_ANSWER_BYTES, "m"))
    assert await kept(cache, "k") is None


async def test_damaged_value_is_a_miss(cache):
    await cache._store.client.set(cache._answer_key("k"), b"{", px=1000)
    assert await kept(cache, "k") is None


async def ask(cache, key, runs, *, fails=0, seconds=5.0):
    """One question as a route asks it; `runs` collects those that were run."""
    async with cache.claim(key, seconds) as claim:
        if claim.hit is not None:
            return claim.hit.answer
        runs.append(key)
        await asyncio.sleep(0.01)
        if len(runs) <= fails:
            raise RuntimeError
        await claim.put(ANSWER)
        return ANSWER


@pytest.mark.parametrize("store", ["memory", "away"])
async def test_identical_questions_are_run_once(cache, store):
    cache = cache if store == "memory" else AnswerCache(StoreAway(), 60)
    runs = []
    answers = await asyncio.gather(*(ask(cache, "k", runs) for _ in range(50)))
    assert answers == [ANSWER] * 50
    assert runs == ["k"]
    assert cache._flights == {}


async def test_different_questions_do_not_wait_for_each_other(cache):
    runs = []
    await asyncio.gather(*(ask(cache, str(number), runs) for number in range(20)))
    assert len(runs) == 20


@pytest.mark.parametrize("store", ["memory", "away"])
async def test_run_that_fails_lets_the_next_one_go(cache, store):
    cache = cache if store == "memory" else AnswerCache(StoreAway(), 60)
    runs = []
    outcomes = await asyncio.gather(*(ask(cache, "k", runs, fails=2) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, RuntimeError) for outcome in outcomes) == 2
    assert outcomes.count(ANSWER) == 8
    assert len(runs) == 3


async def test_run_that_is_cancelled_lets_the_next_one_go(cache):
    runs = []
    first = asyncio.create_task(_run_for_ever(cache, runs))
    while not runs:
        await asyncio.sleep(0)
    second = asyncio.create_task(ask(cache, "k", runs))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await asyncio.wait_for(second, 5) == ANSWER
    assert runs == ["first", "k"]
    assert cache._flights == {}


async def _run_for_ever(cache, runs):
    async with cache.claim("k", 5):
        runs.append("first")
        await asyncio.Event().wait()


@pytest.mark.parametrize("store", ["memory", "away"])
async def test_question_that_waited_long_enough_is_run_as_well(cache, store):
    cache = cache if store == "memory" else AnswerCache(StoreAway(), 60)
    runs = []
    first = asyncio.create_task(_run_for_ever(cache, runs))
    while not runs:
        await asyncio.sleep(0)
    assert await asyncio.wait_for(ask(cache, "k", runs, seconds=0.05), 5) == ANSWER
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert cache._flights == {}


async def test_without_a_store_nothing_is_remembered():
    cache = AnswerCache(StoreAway(), 60)
    runs = []
    for _ in range(2):
        assert await ask(cache, "k", runs) == ANSWER
    assert runs == ["k", "k"]
    assert not await cache.put("k", ANSWER)


@pytest.mark.parametrize("store", ["memory", "away"])
async def test_those_that_wait_are_run_side_by_side_once_an_answer_is_forgone(cache, begin, store):
    cache = cache if store == "memory" else AnswerCache(StoreAway(), 60)
    running = []
    begun = [begin(cache, running) for _ in range(50)]
    await until(lambda: asked(cache) == 50 and running)
    assert len(running) == 1
    begun[0][1].set()
    await until(lambda: len(running) == 50)
    for _, end in begun:
        end.set()
    await asyncio.gather(*(task for task, _ in begun))
    assert cache._flights == {}


@pytest.mark.parametrize("store", ["memory", "away"])
async def test_those_that_come_while_others_run_side_by_side_run_as_well(cache, begin, store):
    cache = cache if store == "memory" else AnswerCache(StoreAway(), 60)
    running = []
    (_, end), _ = begin(cache, running), begin(cache, running)
    await until(lambda: asked(cache) == 2 and running)
    end.set()
    await until(lambda: len(running) == 2)
    begin(cache, running)
    await until(lambda: len(running) == 3)


async def test_those_that_come_soon_after_a_forgone_answer_are_run_side_by_side(cache, begin):
    running = []
    task, end = begin(cache, running)
    end.set()
    await task
    assert cache._flights == {}
    for _ in range(3):
        begin(cache, running)
    await until(lambda: len(running) == 4)


async def test_once_a_key_is_no_longer_open_one_question_is_run_at_a_time(cache, begin, monkeypatch):
    monkeypatch.setattr(answers, "OPEN_SECONDS", 0.05)
    running, runs = [], []
    task, end = begin(cache, running)
    end.set()
    await task
    async with asyncio.timeout(5):
        while await cache._store.client.exists(cache._lease_key("k")):
            await asyncio.sleep(0.01)
    assert await asyncio.gather(*(ask(cache, "k", runs) for _ in range(10))) == [ANSWER] * 10
    assert runs == ["k"]


async def test_kept_answer_wins_over_an_open_key(cache, begin):
    task, end = begin(cache, [])
    end.set()
    await task
    runs = []
    assert await ask(cache, "k", runs) == ANSWER
    assert await ask(cache, "k", runs) == ANSWER
    assert runs == ["k"]


@pytest.mark.parametrize("store", ["memory", "away"])
async def test_answer_of_one_that_was_run_as_well_opens_the_key_while_the_first_still_runs(cache, begin, store):
    cache = cache if store == "memory" else AnswerCache(StoreAway(), 60)
    running = []
    begin(cache, running)
    await until(lambda: running)
    _, end = begin(cache, running, seconds=0.05)
    begin(cache, running)
    await until(lambda: len(running) == 2)
    end.set()
    await until(lambda: len(running) == 3)


async def test_run_that_fails_without_having_had_the_turn_does_not_end_it(cache, begin):
    running = []
    begin(cache, running)
    await until(lambda: running)
    with pytest.raises(RuntimeError):
        await ask(cache, "k", [], fails=1, seconds=0.05)
    assert cache._flights["k"].lock.locked()


async def test_run_that_has_forgone_its_answer_keeps_nobody_waiting_before_it_is_left(cache, begin):
    running = []
    async with cache.claim("k", 5) as claim:
        begin(cache, running)
        await until(lambda: asked(cache) == 2)
        claim.forgo()
        begin(cache, running)
        await until(lambda: len(running) == 2)


async def test_question_that_is_cancelled_as_it_is_woken_wakes_the_others(cache, begin):
    running = []
    (_, end), (second, _), _ = (begin(cache, running) for _ in range(3))
    await until(lambda: asked(cache) == 3 and running)
    flight = cache._flights["k"]
    end.set()
    await until(lambda: not flight.lock.locked())
    second.cancel()
    await until(lambda: len(running) == 2)
    assert second.cancelled()


async def test_damaged_value_leaves_one_run_at_a_time(cache):
    await cache._store.client.set(cache._answer_key("k"), b"{", px=60_000)
    runs = []
    assert await asyncio.gather(*(ask(cache, "k", runs) for _ in range(10))) == [ANSWER] * 10
    assert runs == ["k"]


async def test_damaged_value_does_not_hide_that_a_key_is_open(cache, begin):
    running = []
    task, end = begin(cache, running)
    end.set()
    await task
    await cache._store.client.set(cache._answer_key("k"), b"{", px=60_000)
    for _ in range(3):
        begin(cache, running)
    await until(lambda: len(running) == 4)
