"""From the slots of all pods to what was randomised: each conversation, or user, with its first run in a slot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from agent_api.observations import Slot, UnitState, UnitTurn


class Question(StrEnum):
    """What a unit is asked, each once in a rollout. The values name the evidence in the ledger and in status."""

    FIRST = "errorRate"
    """Did its first run fail?"""
    LATER = "laterErrorRate"
    """Did the first run of its next slot fail? What breaks only with a history shows here."""
    UNANSWERED = "unanswered"
    """Did its first run end, or has it lasted long, without a word?"""


@dataclass(frozen=True, slots=True)
class Answers:
    """How many units of one revision were asked in one slot, and how many said yes."""

    asked: int = 0
    yes: int = 0

    @property
    def buckets(self) -> tuple[int, int]:
        """Those that said no, and yes."""
        return self.asked - self.yes, self.yes


_FAILED: dict[UnitState, bool | None] = {
    UnitState.OK: False,
    UnitState.FAILED: True,
    UnitState.UNANSWERED: True,
    UnitState.LEFT: None,
}
_UNANSWERED: dict[UnitState, bool | None] = {
    UnitState.OK: False,
    UnitState.FAILED: False,
    UnitState.UNANSWERED: True,
    UnitState.LEFT: True,
    UnitState.SILENT: True,
}


def units_of(slots: Iterable[Slot]) -> dict[str, UnitTurn]:
    """Units of one revision in one slot, by name, as all pods together saw them.

    Pods name only the lowest hashes; where one left some out, those are left out everywhere. A unit that several pods
    saw counts with the run that started first.
    """
    together = list(slots)
    below = min((slot.units_below for slot in together if slot.units_below), default="")
    found: dict[str, UnitTurn] = {}
    for slot in together:
        for turn in slot.units or ():
            if not below or turn.name < below:
                known = found.get(turn.name)
                found[turn.name] = turn if known is None else _earlier(known, turn)
    return found


def _earlier(one: UnitTurn, other: UnitTurn) -> UnitTurn:
    first = min(one, other, key=lambda turn: turn.offset_ms)
    return first.model_copy(update={"begins": one.begins or other.begins})


def answer(question: Question, turns: Iterable[UnitTurn], *, running: bool) -> Answers:
    """How units answer a question; what still runs answers as `running` says."""
    known = _UNANSWERED if question is Question.UNANSWERED else _FAILED
    said = [known.get(turn.state, running) for turn in turns]
    return Answers(sum(yes is not None for yes in said), sum(yes is True for yes in said))
