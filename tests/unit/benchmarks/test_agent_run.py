"""What a run is compared with, and what the figures come to."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import pytest

from agent_api.live_document import LiveDocument
from agent_api.runtime_document import RuntimeDocument
from benchmarks.agent_run import OURS, PEERS, Rounds, plot, summarise
from benchmarks.model_upstream import TOOL
from benchmarks.plot import render_bars
from benchmarks.pods import pod_files
from benchmarks.questions import RUN_PATH, Questions

ROUNDS = Rounds(
    cpu={
        "greylag": [0.003, 0.009, 0.003],
        "openaiAgents": [0.006, 0.012, 0.005],
        "litellm": [0.008, 0.008, 0.008],
        "pydanticAi": [0.008, 0.008, 0.01],
    },
    rates={side: [100.0, 200.0, 300.0] for side in ("greylag", *PEERS)},
    redis=[0.001, 0.002, 0.0005],
)
SVG = "{http://www.w3.org/2000/svg}"


def parse(picture):
    return ET.fromstring(picture)  # noqa: S314 - our own


def test_a_share_is_the_median_of_the_rounds_own_shares():
    outcome = summarise(ROUNDS)
    assert outcome.figures["shareOfOpenaiAgents"] == 0.6
    assert outcome.bars["shareOfOpenaiAgents"].met


def test_cpu_and_rates_are_medians_over_rounds():
    figures = summarise(ROUNDS).figures
    assert (figures["greylagCpuMs"], figures["openaiAgentsCpuMs"], figures["redisCpuMs"]) == (3.0, 6.0, 1.0)
    assert figures["greylagRunsPerCpuSecond"] == 333
    assert figures["litellmRunsPerSecond"] == 200


def test_a_run_of_more_than_four_milliseconds_misses_the_bar():
    slow = Rounds(cpu={**ROUNDS.cpu, OURS: [0.0041] * 3}, rates=ROUNDS.rates, redis=ROUNDS.redis)
    bars = summarise(slow).bars
    assert {name: bar.met for name, bar in bars.items()} == {"greylagCpuMs": False, "shareOfOpenaiAgents": False}


def test_the_picture_shows_every_side_and_the_bar():
    text = "".join(parse(plot(summarise(ROUNDS).figures)).itertext())
    for shown in (OURS, *PEERS, "3 ms", "6 ms", "bar: 4 ms"):
        assert shown in text


def bars_of(picture):
    return [float(bar.get("width")) for bar in parse(picture).iter(f"{SVG}rect") if bar.get("class")]


def test_bars_are_as_long_as_their_values_and_fit_the_picture():
    first, second = bars_of(render_bars("t", "ms", {"a": 2.0, "b": 8.0}, limit=4.0))
    assert second == pytest.approx(4 * first, rel=0.01)
    assert second <= 720


def test_a_limit_above_all_values_fits_the_picture():
    picture = render_bars("t", "ms", {"a": 2.0}, limit=4.0)
    (line,) = parse(picture).iter(f"{SVG}line")
    (width,) = bars_of(picture)
    assert float(line.get("x1")) - 130 == pytest.approx(2 * width, rel=0.01)


def test_names_in_a_picture_are_escaped():
    assert "a &lt; b" in render_bars("t", "ms", {"a < b": 1.0}, limit=1.0)


def test_the_pod_has_everything_on():
    files = pod_files("http://upstream", 1234)
    document = RuntimeDocument.model_validate_json(files["document.json"])
    live = LiveDocument.model_validate_json(files["live.json"])
    budgets, limits = live.budgets, live.rate_limits
    assert None not in (budgets.request_micro, budgets.request_tokens, budgets.user_daily_micro, budgets.daily_micro)
    assert None not in (limits.requests_per_minute, limits.per_user_per_minute, limits.max_concurrent)
    assert document.cache is not None
    assert document.guards.redact
    assert document.guards.blocked_input
    assert document.tool_policy.rules[0].when
    assert document.tool_policy.rules[0].tools == [f"api.{TOOL}"]
    assert files["store/url"] == "redis://127.0.0.1:1234/0"


def test_no_question_is_asked_twice_and_only_our_side_is_told_of_users():
    questions = Questions(users=2)
    ours = [questions.next_body(f"http://x{RUN_PATH}") for _ in range(3)]
    theirs = questions.next_body("http://x/run")
    assert len({body["query"] for body in (*ours, theirs)}) == 4
    assert [body["user_id"] for body in ours] == ["user-0", "user-1", "user-0"]
    assert theirs.keys() == {"query"}
    assert json.dumps(theirs)
    assert re.search(r"\(3\)$", theirs["query"])
