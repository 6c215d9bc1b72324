"""A toolbox against a real HTTP API that is described by its own OpenAPI document."""

from __future__ import annotations

import json

import aiohttp
import pytest

from agent_api.runtime_document import HeaderDocument, ToolSourceDocument
from agent_runtime.tools.toolbox import ToolOutcome


@pytest.fixture
async def api(program):
    return await program("http_api.py")


@pytest.fixture
async def box(api, running, allow_all, tmp_path):
    (tmp_path / "0-0").mkdir()
    (tmp_path / "0-0" / "value").write_text("Bearer token-of-the-weather")
    source = ToolSourceDocument(
        name="weather", open_api_url=f"{api.url}/openapi.json", headers=(HeaderDocument(name="Authorization"),)
    )
    box = await running([source], allow_all, headers_directory=tmp_path)
    assert await box.listed(15)
    return box


def data_of(result):
    return json.loads(result.content.split("\n", 1)[1].rsplit("\n", 1)[0])


async def test_operations_become_tools_with_one_flat_schema(box):
    specs = {spec.name: spec for spec in box.specs()}

    assert set(specs) >= {"weather.forecast", "weather.send_report", "weather.headers", "weather.slow"}
    assert specs["weather.forecast"].wire_name == "weather__forecast"
    assert set(specs["weather.forecast"].parameters["properties"]) == {"city", "days", "tags"}
    assert specs["weather.forecast"].parameters["required"] == ["city"]
    assert specs["weather.send_report"].parameters["properties"]["place"]["properties"]["name"]["type"] == "string"
    assert set(specs["weather.send_report"].parameters["required"]) == {"place", "degrees"}
    assert "Weather of the next days." in specs["weather.forecast"].description


@pytest.mark.parametrize(
    ("tool", "arguments", "answer"),
    [
        ("forecast", {"city": "Köln/Süd"}, None),
        (
            "forecast",
            {"city": "Bonn", "days": 3, "tags": ["a b", "c&d"]},
            {"city": "Bonn", "days": 3, "tags": ["a b", "c&d"], "sunny": True},
        ),
        (
            "send_report",
            {"place": {"name": "Bonn"}, "degrees": 21.5, "notes": ["ok"]},
            {"place": {"name": "Bonn", "country": "DE"}, "degrees": 21.5, "notes": ["ok"]},
        ),
        ("moved", {}, {"city": "Berlin", "days": 1, "tags": [], "sunny": True}),
    ],
)
async def test_arguments_reach_the_places_that_the_description_names(box, call, scope, tool, arguments, answer):
    result = await box.call(call(f"weather__{tool}", json.dumps(arguments)), scope())

    assert (result.outcome is ToolOutcome.OK) == (answer is not None)
    if answer is not None:
        assert data_of(result) == answer


async def test_secrets_and_trace_context_go_as_headers(box, call, scope):
    trace = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}

    result = await box.call(call("weather__headers", '{"x-unit": "kelvin"}'), scope(trace=lambda: trace))

    assert data_of(result) == {
        "unit": "kelvin", "authorization": "Bearer token-of-the-weather", "cookie": "", **trace,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "arguments", "outcome", "text"),
    [
        ("forecast", '{"days": 3}', ToolOutcome.INVALID_ARGUMENTS, '"city" is a required property'),
        ("forecast", '{"city": "Bonn", "days": "many"}', ToolOutcome.INVALID_ARGUMENTS, "days:"),
        ("forecast", '{"city": "Bonn", "wind": 1}', ToolOutcome.INVALID_ARGUMENTS, "wind"),
        ("forecast", '{"city": ', ToolOutcome.INVALID_ARGUMENTS, "not a JSON object"),
        ("forecast", "[1]", ToolOutcome.INVALID_ARGUMENTS, "not a JSON object"),
        ("forecast", '{"city": ".."}', ToolOutcome.FAILED, "must not be empty"),
        ("forecast", '{"city": "../../status/200"}', ToolOutcome.FAILED, "must not be empty"),
        ("headers", '{"x-unit": "a\\r\\nHost: evil"}', ToolOutcome.FAILED, "printable ASCII"),
        ("status", '{"code": 404}', ToolOutcome.FAILED, "status 404"),
        ("status", '{"code": 503}', ToolOutcome.UNAVAILABLE, "status 503"),
        ("away", "{}", ToolOutcome.FAILED, "another host"),
        ("picture", "{}", ToolOutcome.OK, "[image/png, 6 bytes, not shown]"),
        ("nothing", "{}", ToolOutcome.UNKNOWN_TOOL, "no tool of this name"),
    ],
)
async def test_what_goes_wrong_is_a_result_that_says_so(box, call, scope, tool, arguments, outcome, text):
    result = await box.call(call(f"weather__{tool}", arguments), scope())

    assert result.outcome is outcome
    assert text in result.content


async def test_a_slow_answer_is_a_timeout(api, running, allow_all, call, scope):
    source = ToolSourceDocument(name="weather", open_api_url=f"{api.url}/openapi.json")
    box = await running([source], allow_all.model_copy(update={"timeout_seconds": 0.3}))
    await box.listed(15)

    result = await box.call(call("weather__slow", '{"seconds": 30}'), scope())

    assert result.outcome is ToolOutcome.TIMEOUT
    assert result.seconds < 2


async def test_a_description_from_the_document_needs_no_url(api, running, allow_all, call, scope):
    async with aiohttp.ClientSession() as session, session.get(f"{api.url}/openapi.json") as response:
        text = await response.text()
    box = await running([ToolSourceDocument(name="w", open_api=text, base_url=api.url)], allow_all)
    await box.listed(15)

    assert (await box.call(call("w__forecast", '{"city": "Bonn"}'), scope())).outcome is ToolOutcome.OK


async def test_five_failures_in_a_row_rest_the_source(box, call, scope):
    for _ in range(5):
        assert (await box.call(call("weather__status", '{"code": 500}'), scope())).outcome is ToolOutcome.UNAVAILABLE

    result = await box.call(call("weather__forecast", '{"city": "Bonn"}'), scope())

    assert result.outcome is ToolOutcome.UNAVAILABLE
    assert "left alone" in result.content
    assert box.unavailable() == ("weather",)


async def test_an_api_that_is_gone_is_unavailable(api, box, call, scope):
    await api.kill()

    assert (await box.call(call("weather__forecast", '{"city": "Bonn"}'), scope())).outcome is ToolOutcome.UNAVAILABLE


async def test_the_observer_hears_of_every_call_by_a_bounded_name(api, running, allow_all, call, scope):
    heard = []
    source = ToolSourceDocument(name="w", open_api_url=f"{api.url}/openapi.json")
    box = await running([source], allow_all, observer=lambda *facts: heard.append(facts[:2]))
    await box.listed(15)

    await box.call(call("w__forecast", '{"city": "Bonn"}'), scope())
    await box.call(call("anything the model thinks of"), scope())

    assert heard == [("w.forecast", ToolOutcome.OK), ("unknown", ToolOutcome.UNKNOWN_TOOL)]
