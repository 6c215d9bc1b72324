"""An MCP server from PyPI, served over streamable HTTP by a proxy from PyPI, on an SDK older than the runtime's."""

from __future__ import annotations

import contextlib

import pytest

from tests.support.apart import installed_apart
from tests.support.pod import running

ASK_TO_CONVERT = '[[call convert_time {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}]]'
ASK_FOR_NOWHERE = '[[call convert_time {"source_timezone": "UTC", "time": "12:00", "target_timezone": "No/Where"}]]'
ASK_WITHOUT_TIME = '[[call convert_time {"source_timezone": "UTC"}]]'
ASK_FOR_NOW = '[[call get_current_time {"timezone": "UTC"}]]'


@pytest.fixture(scope="module")
def serve_time(tmp_path_factory):
    """Runs the server, on a port of one's choice."""
    programs = installed_apart("foreign")
    argv = [str(programs / "mcp-proxy"), "--host", "127.0.0.1", "--port", "{port}", "--pass-environment", "--"]
    argv += [str(programs / "mcp-server-time"), "--local-timezone", "UTC"]
    folder = tmp_path_factory.mktemp("time")

    def serve(port=0):
        return running(argv, folder / "log.txt", "/status", port=port)

    return serve


@pytest.fixture(scope="module")
def time_server(serve_time):
    with serve_time() as server:
        yield server


def with_time(start_agent, server):
    return start_agent(
        tools=[{"name": "time", "mcp": {"url": f"{server.url}/mcp"}}],
        toolPolicy={"rules": [{"tools": ["time.convert_time"], "action": "Allow"}], "timeout": "10s"},
    )


@pytest.fixture(scope="module")
def agent_with_time(start_lasting_agent, time_server):
    return with_time(start_lasting_agent, time_server)


@pytest.fixture
def converter(agent_with_time, run_once):
    return lambda query: run_once(agent_with_time, query)


def outcomes(answer):
    return [(call["name"], call["outcome"]) for call in answer["tool_calls"]]


def test_tool_is_called_and_its_result_reaches_the_model(converter):
    answer = converter(f"What is noon in Tokyo? {ASK_TO_CONVERT}")
    assert outcomes(answer) == [("time.convert_time", "ok")]
    assert "T12:00:00+00:00" in answer["answer"]


def test_tool_that_the_policy_does_not_name_is_not_offered(converter):
    answer = converter(f"What time is it? {ASK_FOR_NOW}")
    assert [outcome for _, outcome in outcomes(answer)] == ["unknown_tool"]


def test_failure_of_the_tool_is_told_to_the_model(converter):
    answer = converter(f"And there? {ASK_FOR_NOWHERE}")
    assert outcomes(answer) == [("time.convert_time", "failed")]
    assert "No/Where" in answer["answer"]


def test_arguments_that_its_schema_does_not_allow_never_reach_it(converter):
    assert outcomes(converter(f"Hm? {ASK_WITHOUT_TIME}")) == [("time.convert_time", "invalid_arguments")]


def test_server_that_went_away_is_used_again_when_it_is_back(start_agent, serve_time, run_once, until):
    with contextlib.ExitStack() as first:
        server = first.enter_context(serve_time())
        agent = with_time(start_agent, server)
        assert outcomes(run_once(agent, ASK_TO_CONVERT)) == [("time.convert_time", "ok")]
    (lost,) = outcomes(run_once(agent, ASK_TO_CONVERT))
    assert lost[1] in {"unavailable", "unknown_tool"}
    with serve_time(server.port):
        until(lambda: outcomes(run_once(agent, ASK_TO_CONVERT)) == [("time.convert_time", "ok")])
