"""What a streamed run of a real process shows, in which order, and how it ends."""

from __future__ import annotations

import json

import pytest

from tests.support.counted_tools import counted_tools
from tests.support.faulty_provider import BEGIN, DONE, answers, calls_tool, delta, faulty_provider, streams, usage
from tests.support.runtimes import document_of, endpoint_of
from tests.support.store_fixtures import standing_redis

__all__ = ["standing_redis"]

CALL = [
    {"index": 0, "id": "a", "type": "function", "function": {"name": "counted__look", "arguments": '{"text": "x"}'}}
]
SAYS_AND_CALLS = streams(
    BEGIN, delta(content="Let me look. "), delta(tool_calls=CALL), delta("tool_calls"), usage(), DONE
)
SAYS_NOTHING = streams(BEGIN, delta("stop"), usage(), DONE)
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "required": ["a"]}}}


@pytest.fixture
async def scene(start_runtime, standing_redis):
    """A provider, tools, and a way to start the agent that has both."""
    async with faulty_provider() as provider, counted_tools() as tools:

        async def start(action="Allow"):
            document = document_of(
                endpoint_of("gpt-x", provider.base_url), tools=[tools.source()], toolPolicy={"default": action}
            )
            return await start_runtime(document, store=standing_redis)

        yield provider, tools, start


async def test_events_come_in_the_order_of_what_happens(scene):
    provider, _, start = scene
    provider.script("gpt-x", calls_tool("counted__look", {"text": "x"}), answers("All well"))
    events = await (await start()).events()
    kinds = [event["type"] for event in events if event["type"] != "delta"]
    assert kinds == ["run.started", "usage", "tool.call", "tool.result", "usage", "completed"]
    call, result = events[2], events[3]
    assert (call["name"], call["arguments"], call["id"]) == ("counted.look", {"text": "x"}, result["id"])
    assert result["outcome"] == "ok"
    assert events[0]["conversation_id"] == events[-1]["result"]["conversation_id"]
    assert events[-1]["result"]["tool_calls"][0]["name"] == "counted.look"


@pytest.mark.parametrize(("last", "answer"), [(answers("Found"), "Found"), (SAYS_NOTHING, "")])
async def test_answer_is_what_the_model_said_last_streamed_or_not(scene, last, answer):
    provider, _, start = scene
    runtime = await start()
    provider.script("gpt-x", SAYS_AND_CALLS, last, SAYS_AND_CALLS, last)
    assert (await runtime.run())[2]["answer"] == answer
    events = await runtime.events()
    assert events[-1]["result"]["answer"] == answer
    assert "".join(event["text"] for event in events if event["type"] == "delta") == "Let me look. " + answer


async def test_stream_that_needs_a_person_ends_with_the_task_that_waits(scene):
    provider, tools, start = scene
    provider.script("gpt-x", calls_tool("counted__write", {"text": "x"}), answers("Written"))
    runtime = await start("RequireApproval")
    events = await runtime.events()
    assert [event["type"] for event in events] == [
        "run.started",
        "usage",
        "tool.call",
        "approval.required",
        "completed",
    ]
    task = events[-1]["result"]
    assert (task["status"], tools.counts["write"]) == ("WaitingForApproval", 0)
    (waiting,) = task["approvals"]
    decided = await runtime.run(
        {"decision": "approve"}, path=f"/agent/tasks/{task['task_id']}/approvals/{waiting['id']}"
    )
    assert decided[0] == 200

    async def done():
        return (await runtime.document(f"/agent/tasks/{task['task_id']}"))["status"] == "Succeeded"

    await runtime.until(done, 20)
    assert tools.counts["write"] == 1
    assert {line["reason"] for line in runtime.process.lines("run")} == {"waiting-for-approval", "answered"}


async def test_whole_run_that_needs_a_person_is_accepted_with_the_place_of_the_task(scene):
    provider, _, start = scene
    provider.script("gpt-x", calls_tool("counted__write", {"text": "x"}))
    runtime = await start("RequireApproval")
    status, headers, task = await runtime.run()
    assert (status, headers["location"]) == (202, f"tasks/{task['task_id']}")
    assert headers["x-greylag-outcome"] == "excluded"
    assert task["approvals"] == [{"id": "c00100000", "name": "counted.write", "arguments": {"text": "x"}}]


async def test_answer_of_another_format_is_asked_for_again_whole_and_is_an_error_streamed(scene):
    provider, _, start = scene
    runtime = await start()
    provider.script("gpt-x", answers("no"), answers("{}"), answers('{"a": 1}'))
    status, _, body = await runtime.run({"query": "hi", "response_format": FORMAT})
    assert (status, json.loads(body["answer"]), provider.hits["gpt-x"]) == (200, {"a": 1}, 3)
    provider.script("gpt-x", answers("{}"))
    events = await runtime.events({"response_format": FORMAT})
    assert events[-1]["problem"]["type"] == "urn:greylag:problem:output-invalid"
    assert (await runtime.run({"query": "hi", "response_format": FORMAT}))[0] == 502
