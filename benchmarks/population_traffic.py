"""Traffic of populations of callers: who asks when, in which conversation, and how likely a run fails. Pure, seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

RATE = 4.0
"""New conversations (or runs of users) a second."""
SECONDS = 750
STABLE_FAILS, MARGIN = 0.08, 0.06
TRUTHS = {"equal": STABLE_FAILS, "onMargin": STABLE_FAILS + MARGIN, "threeTimesWorse": 3 * STABLE_FAILS}
"""How often a run of the canary fails."""
LONG_SECONDS = 240.0
CHATTY_EVERY = 1.0
MANY_TURNS = 2
"""With more, conversations begin half as often as calls would ask for, so that a rollout sees enough of them."""
HANGS = "hangs"


class Kind(StrEnum):
    """What id a request brings."""

    OURS = "ours"
    OWN = "own"
    FORGED = "forged"


class Call(NamedTuple):
    """One request. It fails if `luck`, uniform in [0, 1), is below what its revision's runs fail with.

    `patience` is after how many seconds its client leaves, None: never.
    """

    at: float
    seconds: float
    conversation: int
    user: int
    kind: Kind
    luck: float
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Population:
    """Who calls. `by_user` is the stickiness; shares are of calls, `icc` the correlation of a conversation's turns."""

    name: str
    by_user: bool = False
    users: int = 1000
    own_ids: float = 0.0
    own_fail: float = 0.0
    forged: float = 0.0
    chatty: int = 0
    icc: float = 0.0
    turns: int = 1
    failing_users: int = 0
    long_runs: float = 0.0
    leaving: float = 0.0

    def calls(self, chance: random.Random) -> list[Call]:
        """Calls of one rollout in the order of their time."""
        found = [*self._conversations(chance), *self._chatty_calls(chance)]
        found.sort()
        return found

    def _conversations(self, chance: random.Random) -> Iterator[Call]:
        at, number = 0.0, 1000
        while (at := at + chance.expovariate(RATE / self._mean_turns)) < SECONDS:
            number += 1
            kind = self._kind(chance)
            user = chance.randrange(self.users)
            shared = chance.random()
            for turn in range(1 if kind is not Kind.OURS else chance.randint(1, self.turns)):
                luck = shared if chance.random() < self.icc**0.5 else chance.random()
                yield self._call(chance, at + 7.0 * turn, number, user, kind, luck)

    @property
    def _mean_turns(self) -> float:
        return (1 + self.turns) / 2 if self.turns <= MANY_TURNS else (1 + self.turns) / 4

    def _call(self, chance: random.Random, at: float, conversation: int, user: int, kind: Kind, luck: float) -> Call:
        if kind is Kind.OWN:
            luck = 0.0 if chance.random() < self.own_fail else 1.0
        elif kind is Kind.FORGED or user < self.failing_users:
            luck = 0.0
        seconds = LONG_SECONDS if chance.random() < self.long_runs else chance.expovariate(0.5)
        patience = chance.uniform(0.5, 5.0) if chance.random() < self.leaving else None
        return Call(at, seconds, conversation, user, kind, luck, patience)

    def _kind(self, chance: random.Random) -> Kind:
        drawn = chance.random()
        if drawn < self.own_ids:
            return Kind.OWN
        return Kind.FORGED if drawn < self.own_ids + self.forged else Kind.OURS

    def _chatty_calls(self, chance: random.Random) -> Iterator[Call]:
        """Healthy conversations (or users) that ask all the time, and never fail."""
        for number in range(self.chatty):
            at = chance.random()
            while (at := at + CHATTY_EVERY * chance.uniform(0.5, 1.5)) < SECONDS:
                yield Call(at, chance.expovariate(2.0), number, self.users + number, Kind.OURS, 1.0)


CLEAN = Population("clean")
USERS = Population("users", by_user=True)
POPULATIONS = (
    CLEAN,
    Population("own ids 20 %, which never fail", own_ids=0.2),
    Population("own ids 40 %, which never fail", own_ids=0.4),
    Population("own ids 60 %, which never fail", own_ids=0.6),
    Population("own ids 40 %, which fail 30 %", own_ids=0.4, own_fail=0.3),
    Population("one chatty conversation", chatty=1),
    Population("five chatty conversations", chatty=5),
    Population("1 to 10 turns, ICC 0", turns=10),
    Population("1 to 10 turns, ICC 0.2", turns=10, icc=0.2),
    Population("1 to 10 turns, ICC 0.5", turns=10, icc=0.5),
    Population("2 % of runs last 4 min", long_runs=0.02),
    Population("a tenth of clients give up", leaving=0.1),
    Population("forged ids 5 %, which fail", forged=0.05),
    USERS,
    Population("users, five of them chatty", by_user=True, chatty=5),
    Population("users, one of 40 always fails", by_user=True, users=40, failing_users=1),
    Population("users, 2 % of runs last 4 min", by_user=True, long_runs=0.02),
)
