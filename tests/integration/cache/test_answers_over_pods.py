"""Answers from memory over several pods that share a Redis."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_runtime.cache import answers
from agent_runtime.cache.answers import AnswerCache, CachedAnswer
from tests.support.forgone_answers import asked, until

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


def lease(server, cache):
    """Who has the lease of the key, and its milliseconds."""
    with server.admin() as admin:
        return admin.get(cache._lease_key("k")), admin.pttl(cache._lease_key("k"))


async def test_those_that_wait_in_all_pods_are_run_side_by_side_once_an_answer_is_forgone(pods, begin, redis_server):
    running = []
    _, end = begin(pods[0], running)
    await until(lambda: running)
    for number in range(12):
        begin(pods[number % 3], running)
    await until(lambda: [asked(pod) for pod in pods] == [5, 4, 4])
    assert len(running) == 1
    end.set()
    await until(lambda: len(running) == 13)
    value, milliseconds = lease(redis_server, pods[0])
    assert value == b"open"
    assert 20_000 < milliseconds <= 30_000


async def test_those_that_come_to_another_pod_soon_after_are_run_at_once(pods, begin):
    running = []
    task, end = begin(pods[0], running)
    end.set()
    await task
    for number in range(9):
        begin(pods[number % 3], running)
    await until(lambda: len(running) == 10)


async def test_once_a_key_is_no_longer_open_one_question_of_all_pods_is_run_at_a_time(
    pods, begin, redis_server, monkeypatch
):
    monkeypatch.setattr(answers, "OPEN_SECONDS", 0.2)
    task, end = begin(pods[0], [])
    end.set()
    await task
    await until(lambda: lease(redis_server, pods[0])[0] is None)
    runs = []
    assert await asyncio.gather(*(ask(pods[number % 3], runs) for number in range(30))) == [ANSWER] * 30
    assert len(runs) == 1


async def test_answer_that_another_pod_kept_wins_over_an_open_key(pods, begin, redis_server):
    task, end = begin(pods[0], [])
    end.set()
    await task
    runs = []
    await ask(pods[1], runs)
    assert lease(redis_server, pods[0])[0] == b"open"
    assert await ask(pods[2], runs) == ANSWER
    assert runs == [pods[1]]


async def test_answer_too_large_to_be_kept_is_waited_for_in_its_pod_alone(pods, begin):
    large, runs = CachedAnswer("x" * answers.MAX_ANSWER_BYTES, "m"), []
    async with pods[0].claim("k", 30) as claim:
        beside = asyncio.create_task(ask(pods[0], runs))
        await until(lambda: asked(pods[0]) == 2)
        await claim.put(large)
    assert await beside == large
    for pod in (pods[1], pods[2], pods[1]):
        begin(pod, runs)
    await until(lambda: len(runs) == 3)


async def test_run_that_fails_opens_nothing(pods, redis_server):
    with pytest.raises(RuntimeError):
        await ask(pods[0], [], fails=1)
    assert lease(redis_server, pods[0])[0] is None


async def test_run_that_took_longer_than_its_lease_opens_the_key_for_those_that_wait_for_the_next(
    pods, begin, redis_server
):
    running = []
    _, end = begin(pods[0], running)
    await until(lambda: running)
    with redis_server.admin() as admin:
        admin.set(pods[0]._lease_key("k"), "next", px=60_000)
    begin(pods[1], running)
    await until(lambda: asked(pods[1]) == 1)
    end.set()
    await until(lambda: running == [pods[0], pods[1]])


async def test_redis_that_freezes_in_mid_run_fails_no_question_whose_answer_is_forgone(open_at, own_redis, begin):
    cache, running = AnswerCache(open_at(own_redis), 60), []
    task, end = begin(cache, running)
    begin(cache, running)
    await until(lambda: asked(cache) == 2 and running)
    own_redis.freeze()
    end.set()
    await task
    own_redis.thaw()
    await until(lambda: len(running) == 2)
