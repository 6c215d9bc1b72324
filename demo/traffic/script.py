"""How conversations go: how many turns, at what pace, over which connection, and how the id is sent back."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

_TURNS = (5, 8)
_SLOW_SHARE = 0.1
_FRESH_SHARE = 0.15
_LOOKUP_SHARE = 0.2
_REFUND_SHARE = 0.05
_MAX_ORDER = 9999


@dataclass(frozen=True, slots=True)
class Load:
    """The size of the traffic. Think times in seconds; a slow conversation thinks `slow_factor` times as long."""

    clients: int = 24
    conversations: int = 6
    think_min: float = 1.4
    think_max: float = 3.4
    slow_factor: float = 2.0
    seed: int = 1
    spelled_out: bool = True
    """Whether a question that needs a tool also names it, in the words of the simulated model."""

    @classmethod
    def read(cls, document: dict[str, Any]) -> Load:
        """Load from JSON; fields that are not given keep their default.

        Raises:
            TypeError: a field is unknown.
            ValueError: a number is out of range.
        """
        load = cls(**document)
        if not (1 <= load.clients <= 500 and 1 <= load.conversations <= 100):  # noqa: PLR2004 - bounds of a test load
            raise ValueError("clients must be 1 to 500, conversations 1 to 100")
        if not 0 <= load.think_min <= load.think_max <= 60:  # noqa: PLR2004 - a minute
            raise ValueError("0 <= think_min <= think_max <= 60 seconds")
        return load


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation to be held; `pauses` has the seconds before each turn but the first."""

    pauses: tuple[float, ...]
    by_header: bool
    fresh_connection: bool

    @property
    def turns(self) -> int:
        """How many turns it has."""
        return len(self.pauses) + 1


def write_script(load: Load, chance: random.Random) -> Script:
    """Draw a conversation."""
    slow = load.slow_factor if chance.random() < _SLOW_SHARE else 1.0
    pauses = tuple(slow * chance.uniform(load.think_min, load.think_max) for _ in range(chance.randint(*_TURNS) - 1))
    return Script(pauses, by_header=chance.random() < 0.5, fresh_connection=chance.random() < _FRESH_SHARE)  # noqa: PLR2004


def write_question(load: Load, chance: random.Random, turn: int, conversation: int) -> str:
    """Draw a question: of some the answer is known to a tool, of a few to one that the policy denies."""
    draw, order = chance.random(), str(chance.randint(1, _MAX_ORDER))
    if draw < _REFUND_SHARE:
        text = f"I do not like order {order}: give me my money back."
        return _spelled(load, text, "refundOrder", {"order_id": order, "reason": "I do not like it"})
    if draw < _REFUND_SHARE + _LOOKUP_SHARE:
        return _spelled(load, f"What is the state of order {order}?", "getOrder", {"order_id": order})
    return f"question {turn} of conversation {conversation}"


def _spelled(load: Load, text: str, tool: str, arguments: dict[str, str]) -> str:
    return f"{text} [[call {tool} {json.dumps(arguments)}]]" if load.spelled_out else text
