"""A toolbox against a real MCP server in another process."""

from __future__ import annotations

import asyncio
import json

import pytest

from agent_api.runtime_document import HeaderDocument, ToolPolicyDocument, ToolSourceDocument
from agent_api.v1alpha1.tools import ToolAction, ToolRule
from agent_runtime.tools.toolbox import ToolOutcome

TRACE = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}


@pytest.fixture
async def server(program):
    return await program("mcp_tools_server.py")


def source(server, **facts):
    return ToolSourceDocument(name="kb", mcp_url=f"{server.url}/mcp", **facts)


async def test_tools_are_listed_and_called(server, running, allow_all, call, scope):
    box = await running([source(server, idempotent=("add",))], allow_all)
    assert await box.listed(15)

    specs = {spec.wire_name: spec for spec in box.specs()}
    result = await box.call(call("kb__add", '{"a": 1, "b": 2}'), scope())

    assert specs["kb__add"].name == "kb.add"
    assert specs["kb__add"].description == "Add two numbers."
    assert specs["kb__add"].parameters["required"] == ["a", "b"]
    assert specs["kb__add"].idempotent
    assert not specs["kb__slow"].idempotent
    assert result.outcome is ToolOutcome.OK
    assert "\n3\n</tool-output>" in result.content
    assert box.unavailable() == ()


async def test_a_tool_that_fails_is_a_result_with_its_text_as_data(server, running, allow_all, call, scope):
    box = await running([source(server)], allow_all)
    await box.listed(15)

    result = await box.call(call("kb__broken"), scope())

    assert result.outcome is ToolOutcome.FAILED
    assert "the shelf is empty" in result.content
    assert result.content.count("</tool-output>") == 1


async def test_a_slow_tool_is_cut_off_and_the_connection_stays_usable(server, running, allow_all, call, scope):
    box = await running([source(server)], allow_all.model_copy(update={"timeout_seconds": 0.3}))
    await box.listed(15)

    late = await box.call(call("kb__slow", '{"seconds": 20}'), scope())
    next_one = await box.call(call("kb__add", '{"a": 1, "b": 1}'), scope())

    assert late.outcome is ToolOutcome.TIMEOUT
    assert late.seconds < 2
    assert next_one.outcome is ToolOutcome.OK


async def test_a_long_answer_is_cut_on_a_whole_character_with_a_notice(server, running, allow_all, call, scope):
    box = await running([source(server)], allow_all.model_copy(update={"max_output_bytes": 101}))
    await box.listed(15)

    result = await box.call(call("kb__long", '{"characters": 5000}'), scope())

    assert result.content.count("ü") == 50
    assert result.content.endswith("[cut: the first 100 of 10000 bytes are shown]")


async def test_secret_headers_are_read_for_each_call_and_trace_context_goes_along(
    server, running, allow_all, call, scope, tmp_path
):
    file = tmp_path / "0-0" / "value"
    file.parent.mkdir()
    file.write_text("Bearer one")
    box = await running(
        [source(server, headers=(HeaderDocument(name="Authorization"),))], allow_all, headers_directory=tmp_path
    )
    await box.listed(15)

    first = await box.call(call("kb__headers"), scope(trace=lambda: TRACE))
    file.write_text("Bearer twenty-two")
    second = await box.call(call("kb__headers"), scope())

    assert seen(first) == {"authorization": "Bearer one", **TRACE}
    assert seen(second)["authorization"] == "Bearer twenty-two"
    assert seen(second)["traceparent"] != TRACE["traceparent"]
    assert set(box.secrets()) >= {"Bearer one", "one", "twenty-two"}


def seen(result) -> dict:
    return json.loads(result.content.split("\n", 1)[1].rsplit("\n", 1)[0])


async def test_a_missing_secret_makes_the_source_unavailable_and_its_coming_mends_it(
    server, running, allow_all, tmp_path, until_true
):
    box = await running(
        [source(server, headers=(HeaderDocument(name="Authorization"),))], allow_all, headers_directory=tmp_path
    )

    assert not await box.listed(1)
    assert box.unavailable() == ("kb",)
    (tmp_path / "0-0").mkdir()
    (tmp_path / "0-0" / "value").write_text("Bearer one")

    await until_true(lambda: box.unavailable() == ())


async def test_a_server_that_dies_in_a_call_is_a_result_and_its_return_is_noticed(
    server, running, allow_all, call, scope, until_true
):
    box = await running([source(server)], allow_all)
    await box.listed(15)

    waiting = asyncio.create_task(box.call(call("kb__slow", '{"seconds": 60}'), scope()))
    await asyncio.sleep(0.5)
    await server.kill()
    result = await waiting
    again = await box.call(call("kb__add", '{"a": 1, "b": 1}'), scope())

    assert result.outcome is ToolOutcome.UNAVAILABLE
    assert again.outcome is ToolOutcome.UNAVAILABLE
    assert not waiting.cancelled()
    assert asyncio.current_task().cancelling() == 0
    await until_true(lambda: box.unavailable() == ("kb",))
    assert len(box.specs()) > 0

    await server.start()
    await until_true(lambda: box.unavailable() == ())
    assert (await box.call(call("kb__add", '{"a": 1, "b": 1}'), scope())).outcome is ToolOutcome.OK


async def test_a_server_restarted_between_two_calls_is_found_again(server, running, allow_all, call, scope, until_true):
    box = await running([source(server)], allow_all)
    await box.listed(15)

    await server.kill()
    await server.start()

    async def works() -> bool:
        return (await box.call(call("kb__add", '{"a": 1, "b": 1}'), scope())).outcome is ToolOutcome.OK

    await until_true(works)


async def test_a_server_that_comes_late_blocks_nothing(server, running, allow_all, until_true):
    await server.kill()
    box = await running([source(server)], allow_all)

    assert not await box.listed(0.3)
    assert box.specs() == ()
    await server.start()

    await until_true(lambda: len(box.specs()) > 0)


async def test_a_tool_that_appears_is_told_and_the_drift_is_noticed(
    server, running, allow_all, call, scope, until_true
):
    drifts = []
    box = await running([source(server)], allow_all, drifted=drifts.append)
    await box.listed(15)

    await box.call(call("kb__grow"), scope())
    await until_true(lambda: box.resolve("kb__late") is not None)

    assert drifts == ["kb"]
    assert (await box.call(call("kb__late", '{"word": "hi"}'), scope())).outcome is ToolOutcome.OK


async def test_calls_of_one_run_are_counted_and_limited(server, running, call, scope):
    policy = ToolPolicyDocument(
        rules=(ToolRule(tools=["kb.add"], action=ToolAction.ALLOW, max_calls_per_run=2),), timeout_seconds=5
    )
    box = await running([source(server)], policy)
    await box.listed(15)
    run = scope()

    outcomes = [(await box.call(call("kb__add", '{"a": 1, "b": 1}'), run)).outcome for _ in range(3)]

    assert outcomes == [ToolOutcome.OK, ToolOutcome.OK, ToolOutcome.DENIED]
    assert run.calls == 2
    assert run.calls_by_rule == {0: 2}
    assert [spec.name for spec in box.specs()] == ["kb.add"]


async def test_a_run_that_is_cancelled_in_a_call_leaves_the_source_in_order(server, running, allow_all, call, scope):
    box = await running([source(server)], allow_all.model_copy(update={"max_concurrent": 1}))
    await box.listed(15)

    waiting = asyncio.create_task(box.call(call("kb__slow", '{"seconds": 60}'), scope()))
    await asyncio.sleep(0.3)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert waiting.cancelled()
    assert (await box.call(call("kb__add", '{"a": 1, "b": 1}'), scope())).outcome is ToolOutcome.OK
