"""Where prices come from."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent_api.runtime_document import EndpointDocument, PriceDocument
from agent_runtime.core.money import ModelPrice, Rate
from agent_runtime.llm.client import Usage
from agent_runtime.money.pricing import resolve_price

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"


def price(model, base_url=OPENAI, now=NOW, **changes):
    endpoint = EndpointDocument(
        model=model,
        base_url=base_url,
        max_output_tokens=10,
        first_token_seconds=1,
        idle_seconds=1,
        total_seconds=1,
        **changes,
    )
    return resolve_price(endpoint, now)


def test_table_knows_a_model_of_a_provider():
    assert price("gpt-4o") == ModelPrice(Rate(2_500_000), Rate(10_000_000), cached=Rate(1_250_000))


def test_document_overrides_the_table():
    stated = PriceDocument(input_micro=7, output_micro=9)
    assert price("gpt-4o", price=stated) == ModelPrice(Rate(7), Rate(9))


def test_cached_tokens_are_paid_once_at_their_own_price():
    assert price("gpt-4o").cost(Usage(1_000_000, 0, 1_000_000)) == 1_250_000


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("gpt-4o-nonsense", OPENAI),
        ("gpt", OPENAI),
        ("claude-sonnet-4-5-turbo", "https://api.anthropic.com/v1"),
        ("gpt-4o", "http://localhost:8000/v1"),
        ("gpt-4o", "https://api.openai.com.proxy.example/v1"),
        ("gpt-4o", "https://api.openai.community/v1"),
        ("text-embedding-3-small", OPENAI),  # has no price of answers
    ],
)
def test_what_is_not_exactly_known_has_no_price(model, base_url):
    assert price(model, base_url) is None


@pytest.mark.parametrize("model", ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5-latest"])
def test_snapshot_of_a_model_costs_what_the_model_does(model):
    found = price(model, "https://api.anthropic.com/v1")
    assert found.input.base == 3_000_000
    assert found.worst_case(200_002, 0) == 200_002 * 7.5  # long context, written to the cache


def test_service_tier_changes_the_price():
    assert price("gpt-5.6", extra={"service_tier": "priority"}).input.base > price("gpt-5.6").input.base


def test_provider_that_sells_the_models_of_another_has_their_price():
    assert price("gpt-4o", "https://ours.openai.azure.com/openai/v1") == price("gpt-4o")


def test_price_of_the_day_is_taken():
    assert price("gpt-5.6", now=datetime(2026, 8, 20, tzinfo=UTC)).input.base == 5_000_000
    assert price("gpt-5.6", now=datetime(2026, 8, 21, tzinfo=UTC)).input.base == 4_000_000


def test_price_that_changes_with_the_hour_is_taken_at_its_dearest():
    hours = {hour: price("deepseek-chat", "https://api.deepseek.com/v1", NOW.replace(hour=hour)) for hour in range(24)}
    assert set(hours.values()) == {ModelPrice(Rate(270_000), Rate(1_100_000), cached=Rate(70_000))}


def test_fee_of_a_request_is_a_part_of_its_cost():
    found = price("sonar", "https://api.perplexity.ai")
    assert found.request_micro > 0
    assert found.cost(Usage(0, 0)) == found.request_micro
