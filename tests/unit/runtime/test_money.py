"""What calls cost, and can cost at most."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_api.runtime_document import EndpointDocument
from agent_runtime.core.loop import Message, ToolCall, ToolSpec
from agent_runtime.core.money import (
    MESSAGE_OVERHEAD_TOKENS,
    REQUEST_OVERHEAD_TOKENS,
    ModelPrice,
    Rate,
    WorstCase,
    worst_case_of,
)
from agent_runtime.llm.client import ModelRequest, Run, Usage

PRICE = ModelPrice(Rate(2_500_000), Rate(10_000_000), cached=Rate(1_250_000))
LONG = ModelPrice(Rate(3_000_000, ((200_000, 6_000_000),)), Rate(15_000_000, ((200_000, 22_500_000),)))


def endpoint(**changes):
    common = {"model": "gpt-x", "base_url": "http://x", "max_output_tokens": 100}
    times = {"first_token_seconds": 1, "idle_seconds": 1, "total_seconds": 1}
    return EndpointDocument(**{**common, **times, **changes})


def request(*messages, tools=(), response_format=None):
    return ModelRequest(messages, Run("run-1", 1e9), tools, response_format)


@pytest.mark.parametrize(
    ("price", "usage", "micro"),
    [
        (PRICE, Usage(1000, 100), 2500 + 1000),
        (PRICE, Usage(1000, 100, 1000), 1250 + 1000),
        (PRICE, Usage(1000, 100, 400), 600 * 2.5 + 400 * 1.25 + 1000),
        (PRICE, Usage(1000, 0, 5000), 1250),  # more cached than sent is not taken for true
        (PRICE, Usage(1, 0), 3),  # rounded up
        (ModelPrice(Rate(2_500_000), Rate(0)), Usage(1000, 9, 1000), 2500),  # no price of cached tokens is known
        (LONG, Usage(200_000, 1000), 200_000 * 3 + 1000 * 15),
        (LONG, Usage(200_001, 1000), 200_001 * 6 + 1000 * 22.5),  # the rate of all tokens, not of those beyond
        (ModelPrice(Rate(0), Rate(0), request_micro=12_000), Usage(5, 5), 12_000),
    ],
)
def test_cost(price, usage, micro):
    assert price.cost(usage) == ceil(micro)


def test_worst_case_takes_the_dearest_rate_that_can_be_reached():
    assert LONG.worst_case(200_000, 10) == 200_000 * 3 + 150
    assert LONG.worst_case(200_001, 10) == 200_001 * 6 + 225
    written = ModelPrice(Rate(4_000_000), Rate(0), written=Rate(5_000_000))
    assert written.worst_case(1000, 0) == 5000
    falling = ModelPrice(Rate(3_000_000, ((100, 1_000_000),)), Rate(0))
    assert falling.worst_case(1000, 0) == 3000


rates = st.builds(
    lambda base, tiers: Rate(base, tuple(sorted(tiers.items()))),
    st.integers(0, 10**9),
    st.dictionaries(st.integers(1, 10**6), st.integers(0, 10**9), max_size=3),
)
prices = st.builds(ModelPrice, rates, rates, st.none() | rates, st.none() | rates, st.integers(0, 10**6))


@given(price=prices, sent=st.integers(0, 10**6), received=st.integers(0, 10**6), cached=st.integers(0, 10**6))
def test_no_call_costs_more_than_its_worst_case(price, sent, received, cached):
    assert 0 <= price.cost(Usage(sent, received, cached)) <= price.worst_case(sent, received)
    assert price.worst_case(sent, received) <= price.worst_case(sent + 1, received + 1)


@given(price=prices, sent=st.integers(0, 10**5), received=st.integers(0, 10**5))
def test_cost_is_exact_up_to_one_micro_dollar(price, sent, received):
    exact = Fraction(sent * price.input.at(sent) + received * price.output.at(sent), 10**6) + price.request_micro
    assert 0 <= price.cost(Usage(sent, received)) - exact < 1


@given(text=st.text(max_size=200))
def test_input_is_bounded_by_its_bytes(text):
    assert worst_case_of(request(Message("user", text)), endpoint()).input_tokens >= len(text.encode())


def test_everything_that_is_sent_is_counted():
    plain = worst_case_of(request(Message("user", "hi")), endpoint()).input_tokens
    tool = ToolSpec("kb.search", "kb__search", "d" * 500, {"properties": {"q": {"description": "p" * 700}}})
    call = ToolCall("call_1", "kb__search", '{"q": "' + "a" * 300 + '"}')
    cases = [
        (request(Message("user", "hi"), tools=(tool,)), endpoint(), 1200),
        (request(Message("user", "hi"), Message("assistant", "", (call,))), endpoint(), 300),
        (request(Message("user", "hi"), Message("tool", "r" * 400, tool_call_id="call_1")), endpoint(), 400),
        (request(Message("user", "hi"), response_format={"schema": "s" * 600}), endpoint(), 600),
        (request(Message("user", "hi")), endpoint(extra={"prediction": "e" * 800}), 800),
    ]
    for sent, at, at_least in cases:
        assert worst_case_of(sent, at).input_tokens >= plain + at_least
    assert plain > len("hi") + 16


@pytest.mark.parametrize(
    ("extra", "tokens"),
    [
        ({}, 100),
        ({"n": 3}, 300),
        ({"max_tokens": 500}, 500),
        ({"max_completion_tokens": 500, "n": 2}, 1000),
        ({"max_tokens": 5}, 100),
        ({"n": "3", "max_tokens": True}, 100),
        ({"max_output_tokens": 500}, 500),
        ({"best_of": 2}, 200),
        ({"n": 2, "best_of": 3}, 300),
        ({"n": 1, "max_tokens": 0}, 100),
        ({"n": -3, "max_tokens": -500}, 100),
        ({"n": 2.5}, 100),
    ],
)
def test_parameters_that_are_passed_through_raise_the_output(extra, tokens):
    assert worst_case_of(request(Message("user", "hi")), endpoint(extra=extra)).output_tokens == tokens


@given(sent=st.integers(0, 10**6), received=st.integers(0, 10**6))
def test_tokens_of_both_directions_are_added_up(sent, received):
    assert WorstCase(sent, received).total == sent + received


EMPTY = Message("assistant", "")
CALL = ToolCall("i", "name", "{}")
TOOL = ToolSpec("t", "wire", "says", {})


@pytest.mark.parametrize(
    ("more", "tools", "tokens"),
    [
        ((Message("user", "four"),), (), MESSAGE_OVERHEAD_TOKENS + 4),
        ((Message("user", "üü"),), (), MESSAGE_OVERHEAD_TOKENS + 4),
        ((Message("assistant", "", (CALL,)),), (), 2 * MESSAGE_OVERHEAD_TOKENS + 7),
        ((Message("assistant", "", (CALL, CALL)),), (), 3 * MESSAGE_OVERHEAD_TOKENS + 14),
        ((Message("tool", "", tool_call_id="four"),), (), MESSAGE_OVERHEAD_TOKENS + 4),
        ((EMPTY, EMPTY), (), 2 * MESSAGE_OVERHEAD_TOKENS),
        ((), (TOOL,), MESSAGE_OVERHEAD_TOKENS + 10),
        ((), (TOOL, TOOL), 2 * MESSAGE_OVERHEAD_TOKENS + 20),
    ],
)
def test_each_part_of_a_request_counts_its_bytes_and_what_a_provider_puts_around_it(more, tools, tokens):
    alone = worst_case_of(request(), endpoint())
    assert worst_case_of(request(*more, tools=tools), endpoint()).input_tokens - alone.input_tokens == tokens
    assert alone.input_tokens == REQUEST_OVERHEAD_TOKENS + len("[null,{}]")
