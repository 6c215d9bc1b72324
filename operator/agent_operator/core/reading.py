"""Slots are read into evidence: who counts in each, with which answers, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from agent_api.observations import Observations, Slot, UnitTurn
from agent_api.v1alpha1.route import AgentRouteSpec, Role
from agent_operator.core import routing
from agent_operator.core.analysis.betting import observe
from agent_operator.core.analysis.evidence import Evidence, Margin
from agent_operator.core.counted_units import CountedUnits
from agent_operator.core.facts import Seen
from agent_operator.core.units import Answers, Question, answer, units_of

MAX_REQUESTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """Evidence by question, and the units that have counted, while slots are added."""

    evidence: Mapping[str, Evidence]
    users: CountedUnits
    later: CountedUnits

    def adding(self, stable: Iterable[Slot], canary: Iterable[Slot], margins: Mapping[str, Margin]) -> Reading:
        """Add what both revisions did in one slot; what still runs is taken as stable's failure, the canary's success.

        That can hide that the canary is worse, and never make it look worse.
        """
        one, other = _Side.of(stable, self), _Side.of(canary, self)
        if not (one.is_news or other.is_news):
            return self
        evidence = dict(self.evidence)
        for question in Question:
            asked, against = one.answers(question, running=True), other.answers(question, running=False)
            evidence[question] = observe(evidence[question], asked.buckets, against.buckets, margins[question])
        return Reading(
            evidence,
            self.users.adding(one.new_users | other.new_users),
            self.later.adding(one.seen_again | other.seen_again),
        )


@dataclass(frozen=True, slots=True)
class _Side:
    """What counts of one revision in one slot. `others` are requests of pods that know no units: each is one."""

    firsts: tuple[UnitTurn, ...]
    laters: tuple[UnitTurn, ...]
    others: Answers

    @classmethod
    def of(cls, slots: Iterable[Slot], reading: Reading) -> _Side:
        together = tuple(slots)
        firsts, laters = [], []
        for name, turn in units_of(together).items():
            if turn.begins or (turn.by_user and reading.users.admits(name)):
                firsts.append(turn)
            elif (not turn.by_user or reading.users.has(name)) and reading.later.admits(name):
                laters.append(turn)
        older = [slot for slot in together if slot.units is None]
        others = Answers(sum(slot.requests for slot in older), sum(slot.failures for slot in older))
        return cls(tuple(firsts), tuple(laters), others)

    @property
    def is_news(self) -> bool:
        return bool(self.firsts or self.laters or self.others.asked)

    @property
    def new_users(self) -> frozenset[str]:
        return frozenset(turn.name for turn in self.firsts if turn.by_user)

    @property
    def seen_again(self) -> frozenset[str]:
        return frozenset(turn.name for turn in self.laters)

    def answers(self, question: Question, *, running: bool) -> Answers:
        said = answer(question, self.laters if question is Question.LATER else self.firsts, running=running)
        if question is not Question.FIRST:
            return said
        return Answers(said.asked + self.others.asked, said.yes + self.others.yes)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The two revisions that are compared, and the slots of the epoch in the order of their time."""

    stable: str
    canary: str
    slots: tuple[Slot, ...]
    margins: Mapping[str, Margin]

    @classmethod
    def of(cls, route: AgentRouteSpec, seen: Seen, margins: Mapping[str, Margin]) -> Comparison | None:
        """What there is to compare; None without a canary, or while a pod has not answered."""
        stable, canary = routing.name_of(route, Role.STABLE), routing.name_of(route, Role.CANARY)
        if not is_known(seen) or stable is None or canary is None:
            return None
        both = (slot for slot in plausible_slots(seen.observations) if slot.revision in {stable, canary})
        slots = sorted((slot for slot in both if slot.epoch == route.epoch), key=lambda slot: slot.start)
        return cls(stable, canary, tuple(slots), margins)

    def readings(self, reading: Reading, since: int, until: float) -> Iterator[Reading]:
        """What is known after each slot from `since` to before `until`."""
        fresh = (slot for slot in self.slots if since <= slot.start < until)
        for _, together in groupby(fresh, key=lambda slot: slot.start):
            both = tuple(together)
            stable = [slot for slot in both if slot.revision == self.stable]
            canary = [slot for slot in both if slot.revision == self.canary]
            grown = reading.adding(stable, canary, self.margins)
            if grown is not reading:
                reading = grown
                yield grown


def is_known(seen: Seen) -> bool:
    """Whether every pod that counts has said what it counted."""
    return seen.complete and bool(seen.observations)


def plausible_slots(observations: Iterable[Observations]) -> Iterable[Slot]:
    """Slots whose counts fit together, of all pods."""
    return (slot for observed in observations for slot in observed.slots if _is_plausible(slot))


def _is_plausible(slot: Slot) -> bool:
    """Whether the counts of a slot fit together: a runtime image may be anybody's, and must not stop the operator."""
    return slot.failures <= slot.requests <= MAX_REQUESTS and slot.conversations <= slot.requests
