"""Loops that never end and calls that run twice, asked of real processes by HTTP (case 23)."""

from __future__ import annotations

from tests.support.faulty_provider import answers, calls_tool, calls_tools, is_silent
from tests.support.runtimes import document_of, endpoint_of

ALLOW = {"default": "Allow"}


def with_tools(provider, tools, policy=ALLOW, source=None, **changes):
    return document_of(
        endpoint_of("gpt-x", provider.base_url), tools=[tools.source(**(source or {}))], toolPolicy=policy, **changes
    )


async def test_case_23_same_failing_call_ends_the_run(start_runtime, provider, tools, problem):
    provider.script("gpt-x", calls_tool("counted__fail", {"text": "x"}))
    runtime = await start_runtime(with_tools(provider, tools, maxIterations=50))
    assert problem(await runtime.run()) == (502, "tool-loop")
    assert (tools.counts["fail"], provider.hits["gpt-x"]) == (3, 3)
    (line,) = runtime.process.lines("run")
    assert (line["outcome"], line["tool_calls"]) == ("error", 3)


async def test_case_23_arguments_that_stay_invalid_end_the_run(start_runtime, provider, tools, problem):
    invalid = [calls_tool("counted__write", arguments) for arguments in ('{"text": ', {"other": 1}, "[]", "{}")]
    provider.script("gpt-x", *invalid)
    runtime = await start_runtime(with_tools(provider, tools, maxIterations=50))
    assert problem(await runtime.run()) == (502, "tool-loop")
    assert (tools.counts["write"], provider.hits["gpt-x"]) == (0, 3)


async def test_case_23_calls_that_go_well_for_ever_end_with_the_last_iteration(start_runtime, provider, tools, problem):
    provider.script("gpt-x", *(calls_tool("counted__look", {"text": str(number)}) for number in range(20)))
    runtime = await start_runtime(with_tools(provider, tools, maxIterations=4))
    assert problem(await runtime.run()) == (422, "iterations-exhausted")
    assert provider.hits["gpt-x"] == 4


async def test_case_23_parallel_calls_do_not_overrun_the_limit_of_a_run(start_runtime, provider, tools):
    calls = [(f"call-{number}", "counted__write", {"text": str(number)}) for number in range(12)]
    provider.script("gpt-x", calls_tools(*calls), answers())
    tools.pause = 0.2
    runtime = await start_runtime(with_tools(provider, tools, {**ALLOW, "maxCallsPerRun": 5}))
    status, _, body = await runtime.run()
    assert (status, tools.counts["write"]) == (200, 5)
    assert sorted(use["outcome"] for use in body["tool_calls"]) == ["denied"] * 7 + ["ok"] * 5


async def test_case_23_parallel_calls_do_not_overrun_the_limit_of_a_rule(start_runtime, provider, tools):
    calls = [(f"call-{number}", "counted__write", {"text": str(number)}) for number in range(12)]
    provider.script("gpt-x", calls_tools(*calls), answers())
    tools.pause = 0.2
    policy = {"rules": [{"tools": ["counted.write"], "action": "Allow", "maxCallsPerRun": 2}]}
    runtime = await start_runtime(with_tools(provider, tools, policy))
    assert (await runtime.run())[0] == 200
    assert tools.counts["write"] == 2


async def test_case_23_pod_that_takes_a_task_over_does_not_repeat_what_it_did(
    start_runtime, provider, tools, standing_redis
):
    provider.script("gpt-x", calls_tool("counted__write", {"text": "once"}), is_silent(60), answers("It is written."))
    document = with_tools(provider, tools)
    first = await start_runtime(document, store=standing_redis)
    status, _, task = await first.run(path="/agent/tasks")
    assert status == 202
    await provider.until(lambda: provider.hits["gpt-x"] == 2)
    second = await start_runtime(document, store=standing_redis)
    first.process.kill()

    async def done():
        return (await second.document(f"/agent/tasks/{task['task_id']}"))["status"] == "Succeeded"

    await second.until(done, 60)
    found = await second.document(f"/agent/tasks/{task['task_id']}")
    assert (found["result"]["answer"], found["attempt"]) == ("It is written.", 2)
    assert (tools.counts["write"], provider.hits["gpt-x"]) == (1, 3)
