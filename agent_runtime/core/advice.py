"""What a caller is told when a run nears its limits: what to do, not only that there is one. Pure."""

from __future__ import annotations

from dataclasses import dataclass

NEAR_PERCENT = 80
SIMPLE_TOKENS = 500
"""A run of one model call with fewer tokens than this would have done with a cheaper model."""

_CHEAPER_FACTOR = 2


@dataclass(frozen=True, slots=True)
class Costs:
    """What a run took, and what it might have taken; None is no limit or not known. Money is in micro-dollars."""

    spent_micro: int | None
    limit_micro: int | None
    tokens: int
    token_limit: int | None
    history_tokens: int
    history_limit: int
    iterations: int
    price: float | None = None
    cheaper: tuple[str, float] | None = None


def advise(costs: Costs) -> tuple[str, ...]:
    """Advice for the caller of one run, most urgent first."""
    found = []
    if _near(costs.spent_micro, costs.limit_micro):
        found.append(
            "This run used most of its cost budget: ask for less at once, or raise budgets.perRequest.costUSD."
        )
    if _near(costs.tokens, costs.token_limit):
        found.append(
            "This run used most of its token budget: shorten the question, or raise budgets.perRequest.tokens."
        )
    if _near(costs.history_tokens, costs.history_limit):
        found.append(
            "The conversation is nearly as long as the agent remembers: sum it up and begin a new one,"
            " or set agent.conversations.onOverflow to Summarise."
        )
    if costs.iterations == 1 and costs.tokens < SIMPLE_TOKENS and costs.price is not None and costs.cheaper is not None:
        model, price = costs.cheaper
        if price * _CHEAPER_FACTOR <= costs.price:
            found.append(f"This was a simple question: {model} answers such ones for less.")
    return tuple(found)


def _near(used: int | None, limit: int | None) -> bool:
    return used is not None and limit is not None and used * 100 >= limit * NEAR_PERCENT
