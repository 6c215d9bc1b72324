"""Answers from memory over several pods that share a Redis."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_runtime.cache import answers
from agent_runtime.cache.answers import AnswerCache, CachedAnswer

ANSWER = CachedAnswer("Hello", "gpt-4o")


async def kept(cache, key):
    """What is kept under a key, as a question that waits for nobody finds it."""
    async with cache.claim(key, 0.0) as claim:
        return claim.hit


@pytest.fixture
def pods(open_at, redis_server):
    return [AnswerCache(open_at(redis_server), 60) for _ in range(3)]


async def ask(cache, runs, *, fails=0, seconds=10.0):
    async with cache.claim("k", seconds) as claim:
        if claim.hit is not None:
            return claim.hit.answer
        runs.append(cache)
        await asyncio.sleep(0.05)
        if len(runs) <= fails:
            raise RuntimeError
        await claim.put(ANSWER)
        return ANSWER


async def test_identical_questions_to_all_pods_are_run_once(pods):
    runs = []
    assert await asyncio.gather(*(ask(pods[number % 3], runs) for number in range(60))) == [ANSWER] * 60
    assert len(runs) == 1


async def test_pod_whose_run_fails_lets_the_next_one_go(pods):
    runs = []
    outcomes = await asyncio.gather(
        *(ask(pods[number % 3], runs, fails=4) for number in range(30)), return_exceptions=True
    )
    assert sum(isinstance(outcome, RuntimeError) for outcome in outcomes) == 4
    assert outcomes.count(ANSWER) == 26
    assert len(runs) == 5


async def test_pod_that_died_keeps_the_others_no_longer_than_its_lease(pods, redis_server, monkeypatch):
    monkeypatch.setattr(answers, "LEASE_SECONDS", 0.5)
    with redis_server.admin() as admin:
        admin.set(pods[0]._lease_key("k"), "dead", px=500)
    begun, runs = time.monotonic(), []
    assert await ask(pods[1], runs) == ANSWER
    assert 0.3 < time.monotonic() - begun < 5
    assert len(runs) == 1


async def test_question_waits_for_another_pod_only_as_long_as_it_may(pods, redis_server):
    with redis_server.admin() as admin:
        admin.set(pods[0]._lease_key("k"), "busy", px=60_000)
    begun, runs = time.monotonic(), []
    assert await ask(pods[1], runs, seconds=0.3) == ANSWER
    assert 0.2 < time.monotonic() - begun < 5
    with redis_server.admin() as admin:
        assert admin.get(pods[0]._lease_key("k")) == b"busy"


async def test_lease_is_given_back(pods, redis_server):
    await ask(pods[0], [])
    with redis_server.admin() as admin:
        assert admin.keys("*lease") == []


async def test_age_is_that_of_the_answer_and_it_ends(open_at, redis_server):
    cache = AnswerCache(open_at(redis_server), 0.6)
    await cache.put("k", ANSWER)
    ages = []
    while (hit := await kept(cache, "k")) is not None:
        ages.append(hit.age_seconds)
        await asyncio.sleep(0.05)
    assert ages == sorted(ages)
    assert 0.3 < ages[-1] <= 0.6


async def test_agents_of_a_namespace_share_no_answer(open_at, redis_server):
    first, second = (AnswerCache(open_at(redis_server, agent), 60) for agent in ("support", "sales"))
    await first.put("k", ANSWER)
    assert await kept(second, "k") is None


async def test_redis_that_goes_away_makes_every_question_new_and_fails_none(open_at, own_redis):
    cache = AnswerCache(open_at(own_redis), 60)
    runs = []
    assert await ask(cache, runs) == ANSWER
    assert await ask(cache, runs) == ANSWER
    assert len(runs) == 1
    own_redis.stop()
    assert await asyncio.gather(*(ask(cache, runs) for _ in range(20))) == [ANSWER] * 20
    assert len(runs) == 2


async def test_redis_that_freezes_in_mid_run_fails_no_question(open_at, own_redis):
    cache = AnswerCache(open_at(own_redis), 60)
    async with cache.claim("k", 5) as claim:
        own_redis.freeze()
        await claim.put(ANSWER)
    own_redis.thaw()


async def test_full_redis_fails_no_question(open_at, redis_server):
    cache, runs = AnswerCache(open_at(redis_server), 60), []
    with redis_server.admin() as admin:
        admin.config_set("maxmemory", "1")
        try:
            assert await ask(cache, runs) == ANSWER
        finally:
            admin.config_set("maxmemory", "0")
    assert len(runs) == 1
