"""What a caller is told when a run nears its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_runtime.core.advice import Costs, advise

FAR = Costs(
    spent_micro=100,
    limit_micro=1000,
    tokens=600,
    token_limit=10_000,
    history_tokens=100,
    history_limit=16_000,
    iterations=2,
    price=1000.0,
    cheaper=("small", 100.0),
)
SIMPLE = replace(FAR, iterations=1, tokens=499)


def test_far_from_every_limit_nothing_is_said():
    assert advise(FAR) == ()


@pytest.mark.parametrize(
    ("near", "told"),
    [
        ({"spent_micro": 800}, "budgets.perRequest.costUSD"),
        ({"tokens": 8000}, "budgets.perRequest.tokens"),
        ({"history_tokens": 12_800}, "agent.conversations.onOverflow"),
    ],
)
def test_from_80_percent_on_the_limit_and_the_way_out_are_named(near, told):
    (advice,) = advise(replace(FAR, **near))
    assert told in advice
    ((name, value),) = near.items()
    assert advise(replace(FAR, **{name: value - 1})) == ()


@pytest.mark.parametrize("unknown", ["spent_micro", "limit_micro", "token_limit", "history_limit"])
def test_limit_that_there_is_not_is_never_near(unknown):
    costs = replace(FAR, spent_micro=10**9, tokens=10**9, history_tokens=10**9)
    assert len(advise(replace(costs, **{unknown: None}))) == 2


def test_cheaper_model_is_named_for_a_simple_question():
    assert advise(SIMPLE) == ("This was a simple question: small answers such ones for less.",)


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": 2},
        {"tokens": 500},
        {"price": None},
        {"cheaper": None},
        {"cheaper": ("small", 501.0)},
    ],
)
def test_no_cheaper_model_is_named_where_it_would_not_help(change):
    assert advise(replace(SIMPLE, **change)) == ()


def test_model_of_half_the_price_is_cheap_enough():
    assert len(advise(replace(SIMPLE, cheaper=("small", 500.0)))) == 1


def test_most_urgent_comes_first():
    found = advise(replace(SIMPLE, spent_micro=900, token_limit=500, history_tokens=16_000))
    assert [
        part for text in found for part in ("cost budget", "token budget", "conversation", "simple") if part in text
    ] == [
        "cost budget",
        "token budget",
        "conversation",
        "simple",
    ]
