"""Metrics: what each note of the layers shows to Prometheus, and that labels stay few."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent_api.observations import Outcome
from agent_runtime.llm.client import ModelAnswer, Usage
from agent_runtime.llm.retry import AttemptEnded
from agent_runtime.telemetry.labels import MAX_VALUES, OTHER, Vocabulary
from agent_runtime.telemetry.metrics import RuntimeMetrics

REVISION = "support-5c9f0a1b2d"


@pytest.fixture
def metrics():
    return RuntimeMetrics(REVISION, lambda: 3, ["gpt-x"])


def samples(metrics):
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, *sorted((key, value) for key, value in sample.labels.items() if key != "revision")): sample.value
        for family in families
        for sample in family.samples
        if sample.labels["revision"] == REVISION
    }


NOTES = [
    (lambda m: m.run_ended(Outcome.OK, 0.5, counts=True), ("agent_requests_total", ("outcome", "ok")), 1),
    (
        lambda m: m.run_ended(Outcome.EXCLUDED, 0.5, counts=False, problem="rate-limited"),
        ("agent_problems_total", ("type", "rate-limited")),
        1,
    ),
    (lambda m: m.run_ended(Outcome.OK, 0.5, counts=True), ("agent_run_seconds_sum",), 0.5),
    (lambda m: None, ("agent_runs_in_flight",), 3),
    (lambda m: m.cache_looked_up("hit"), ("agent_cache_lookups_total", ("result", "hit")), 1),
    (
        lambda m: m.attempt_ended(AttemptEnded("gpt-x", "cut")),
        ("model_attempts_total", ("model", "gpt-x"), ("result", "cut")),
        1,
    ),
    (lambda m: m.call_ended("gpt-x", 2.0), ("model_call_seconds_sum", ("model", "gpt-x")), 2.0),
    (lambda m: m.first_token("gpt-x", 0.3), ("model_first_token_seconds_sum", ("model", "gpt-x")), 0.3),
    (lambda m: m.retried("gpt-x"), ("model_retries_total", ("model", "gpt-x")), 1),
    (lambda m: m.fell_back("gpt-x", "gpt-y"), ("model_fallbacks_total", ("model", "gpt-x"), ("to", "gpt-y")), 1),
    (lambda m: m.breaker_changed("gpt-x", "open"), ("model_breaker_state", ("model", "gpt-x")), 2),
    (lambda m: m.breaker_changed("gpt-x", "half_open"), ("model_breaker_state", ("model", "gpt-x")), 1),
    (lambda m: m.charged("gpt-x", 250_000), ("agent_cost_usd_total", ("model", "gpt-x")), 0.25),
    (lambda m: m.guard_blocked("input", "length"), ("guard_blocks_total", ("rule", "length"), ("side", "input")), 1),
    (lambda m: m.redacted("apiKeys", 2), ("redactions_total", ("kind", "apiKeys")), 2),
    (lambda m: m.budget_refused("user"), ("budget_refusals_total", ("scope", "user")), 1),
    (lambda m: m.rate_limited("agent"), ("rate_limit_refusals_total", ("scope", "agent")), 1),
    (lambda m: m.spend_seen(1_500_000, 4_000_000), ("budget_spent_usd",), 1.5),
    (lambda m: m.spend_seen(1_500_000, 4_000_000), ("budget_limit_usd",), 4),
    (lambda m: m.spend_seen(1_500_000, 4_000_000), ("budget_remaining_usd",), 2.5),
    (lambda m: m.spend_seen(5_000_000, 4_000_000), ("budget_remaining_usd",), 0),
    (lambda m: m.tasks_seen({"running": 2}, 7), ("agent_tasks", ("state", "running")), 2),
    (lambda m: m.tasks_seen({"running": 2}, 7), ("agent_task_queue_length",), 7),
    (lambda m: m.store_seen(True), ("store_reachable",), 1),
    (lambda m: m.store_seen(False), ("store_reachable",), 0),
    (lambda m: m.process_seen(0.25, 4096), ("event_loop_lag_seconds",), 0.25),
    (lambda m: m.process_seen(0.25, 4096), ("process_resident_memory_bytes",), 4096),
]


@pytest.mark.parametrize(("note", "series", "value"), NOTES, ids=[str(row[1]) for row in NOTES])
def test_note_is_shown_with_the_revision(metrics, note, series, value):
    note(metrics)
    assert samples(metrics)[series] == value


def test_answer_is_shown_as_tokens_by_direction_and_cost(metrics):
    metrics.answered(ModelAnswer("hi", "gpt-x", "stop", Usage(100, 20, 60), cost_micro=1_000))
    shown = samples(metrics)
    assert shown["tokens_total", ("direction", "input"), ("model", "gpt-x")] == 100
    assert shown["tokens_total", ("direction", "output"), ("model", "gpt-x")] == 20
    assert shown["cached_tokens_total", ("model", "gpt-x")] == 60
    assert shown["agent_cost_usd_total", ("model", "gpt-x")] == pytest.approx(0.001)


def test_answer_of_unknown_size_and_price_shows_neither(metrics):
    metrics.answered(ModelAnswer("hi", "gpt-x", "stop", None))
    assert not any(series[0] in ("tokens_total", "agent_cost_usd_total") for series in samples(metrics))


def test_run_that_does_not_count_is_not_in_the_latency(metrics):
    metrics.run_ended(Outcome.EXCLUDED, 9.0, counts=False)
    assert samples(metrics)["agent_run_seconds_count",] == 0


def test_limit_that_was_taken_away_is_shown_no_more(metrics):
    metrics.spend_seen(1, 5)
    metrics.spend_seen(2, None)
    shown = samples(metrics)
    assert ("budget_limit_usd",) not in shown
    assert ("budget_remaining_usd",) not in shown
    assert shown["budget_spent_usd",] == pytest.approx(2e-6)


def test_state_without_tasks_is_shown_no_more(metrics):
    metrics.tasks_seen({"running": 2}, 0)
    metrics.tasks_seen({"waiting": 1}, 0)
    assert [series for series in samples(metrics) if series[0] == "agent_tasks"] == [
        ("agent_tasks", ("state", "waiting"))
    ]


def test_known_tool_is_shown_by_name_and_any_other_as_one(metrics):
    metrics.know_tools(["kb.search"])
    metrics.tool_ended("kb.search", "ok", 0.5)
    for number in range(100):
        metrics.tool_ended(f"made-up-{number}", "unknown_tool", 0.0)
    shown = samples(metrics)
    assert shown["tool_calls_total", ("outcome", "ok"), ("tool", "kb.search")] == 1
    assert shown["tool_calls_total", ("outcome", "unknown_tool"), ("tool", OTHER)] == 100
    assert shown["tool_call_seconds_count", ("tool", "kb.search")] == 1
    assert ("tool_call_seconds_count", ("tool", OTHER)) not in shown


def test_made_up_names_do_not_grow_the_exposition(metrics):
    metrics.know_tools(f"source.tool-{number}" for number in range(10_000))
    for number in range(1_000):
        metrics.call_ended(f"model-{number}", 1.0)
        metrics.guard_blocked(f"side-{number}", f"rule-{number}")
        metrics.run_ended(Outcome.ERROR, 1.0, counts=True, problem=f"problem-{number}")
        metrics.tool_ended(f"source.tool-{number}", "ok", 1.0)
    shown = samples(metrics)
    for name in ("model_call_seconds_count", "guard_blocks_total", "agent_problems_total", "tool_calls_total"):
        assert len([series for series in shown if series[0] == name]) <= MAX_VALUES + 1


def test_closed_vocabulary_takes_in_nothing_it_was_not_told():
    words = Vocabulary(["a"])
    assert [words.value(name) for name in ("a", "b")] == ["a", OTHER]


def test_open_vocabulary_takes_in_what_it_meets_until_it_is_full():
    words = Vocabulary(["a"], is_open=True, limit=2)
    assert [words.value(name) for name in ("b", "c", "a", "b")] == ["b", OTHER, "a", "b"]
