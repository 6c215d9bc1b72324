"""Runs that become tasks, and tasks that have to wait, asked of real processes by HTTP."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.faulty_provider import calls_tool
from tests.support.runtimes import document_of, endpoint_of

ASK_FIRST = {"toolPolicy": {"default": "RequireApproval"}}


@pytest.mark.parametrize("stream", [False, True])
async def test_call_that_waits_is_refused_in_words_while_too_many_wait(
    start_runtime, provider, standing_redis, tools, stream
):
    provider.script("gpt-x", calls_tool("counted__write", {"text": "x"}))
    document = document_of(endpoint_of("gpt-x", provider.base_url), tools=[tools.source()], **ASK_FIRST)
    runtime = await start_runtime(document, store=standing_redis)
    with standing_redis.admin() as redis:
        waiting = {f"task-{number}": (time.time() + 3600) * 1000 for number in range(1000)}
        redis.zadd(f"{{greylag:{document['namespace']}}}:support:tasks:open", waiting)
    if stream:
        problem = (await runtime.events())[-1]["problem"]
    else:
        status, headers, problem = await runtime.run()
        assert (status, headers["x-greylag-outcome"]) == (429, "excluded")
    assert problem["type"] == "urn:greylag:problem:queue-full"
    assert [line["outcome"] for line in runtime.process.lines("run")] == ["excluded"]


async def finished(runtime, task_id):
    async with asyncio.timeout(60):
        while True:
            task = await runtime.document(f"/agent/tasks/{task_id}")
            if task["status"] in ("Succeeded", "Failed"):
                return task
            await asyncio.sleep(0.05)


async def test_tasks_beyond_the_limit_of_runs_wait_for_their_turn(start_runtime, provider, standing_redis):
    document = document_of(endpoint_of("gpt-x", provider.base_url))
    runtime = await start_runtime(document, store=standing_redis, live={"rateLimits": {"maxConcurrent": 1}})
    made = [await runtime.run(f"task {number}", path="/agent/tasks") for number in range(4)]
    ended = [await finished(runtime, body["task_id"]) for _, _, body in made]
    assert [task["status"] for task in ended] == ["Succeeded"] * 4, [task["problem"] for task in ended]


async def test_tasks_beyond_those_of_a_minute_are_refused_at_once(start_runtime, provider, standing_redis):
    document = document_of(endpoint_of("gpt-x", provider.base_url))
    live = {"rateLimits": {"requestsPerMinute": 3, "perUserPerMinute": 2}}
    runtime = await start_runtime(document, store=standing_redis, live=live)
    made = [await runtime.run({"query": "hi", "user_id": user}, path="/agent/tasks") for user in ("ann", "ann", "ann")]
    assert [status for status, _, _ in made] == [202, 202, 429]
    assert (made[2][2]["scope"], int(made[2][1]["retry-after"]) > 0) == ("user", True)
    assert (await finished(runtime, made[0][2]["task_id"]))["status"] == "Succeeded"
    statuses = [(await runtime.run({"query": "hi", "user_id": "bob"}))[0] for _ in range(2)]
    assert statuses == [200, 429]
