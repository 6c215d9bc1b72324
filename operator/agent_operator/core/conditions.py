"""The only place that spells conditions; each function says one aspect of an agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent_api.meta import format_time
from agent_operator.core.facts import Note
from agent_operator.core.snapshot import Problem

MAX_MESSAGE = 2048


@dataclass(frozen=True, slots=True)
class Aspect:
    """A condition without its history."""

    type: str
    status: bool | None
    reason: str
    message: str


def with_history(
    aspects: Iterable[Aspect], before: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions as stored: a transition time moves only with the status."""
    known = {condition["type"]: condition for condition in before}
    return [_condition(aspect, known.get(aspect.type), generation, now) for aspect in aspects]


def appeared(problems: Iterable[Problem], before: Sequence[Mapping[str, Any]]) -> tuple[Note, ...]:
    """Events for problems that the conditions before did not tell of."""
    told = {(condition["type"], condition["reason"]) for condition in before if condition["status"] == "True"}
    fresh = {
        (problem.type, problem.reason): problem for problem in problems if (problem.type, problem.reason) not in told
    }
    return tuple(Note(warning=True, reason=problem.reason, message=problem.message) for problem in fresh.values())


def with_problem(status: Mapping[str, Any], problem: Problem, generation: int, now: datetime) -> dict[str, Any]:
    """A status with one more condition, the rest as it was: for when nothing else can be said."""
    conditions = status.get("conditions", ())
    others = [c for c in conditions if isinstance(c, dict) and c.get("type") != problem.type]
    known = next((c for c in conditions if isinstance(c, dict) and c.get("type") == problem.type), None)
    aspect = Aspect(problem.type, status=True, reason=problem.reason, message=problem.message)
    return {**status, "conditions": [*others, _condition(aspect, known, generation, now)]}


def _condition(aspect: Aspect, before: Mapping[str, Any] | None, generation: int, now: datetime) -> dict[str, Any]:
    status = "Unknown" if aspect.status is None else str(aspect.status)
    since = format_time(now)
    if before is not None and before["status"] == status:
        since = before["lastTransitionTime"]
    return {
        "type": aspect.type,
        "status": status,
        "reason": aspect.reason,
        "message": aspect.message[:MAX_MESSAGE],
        "lastTransitionTime": since,
        "observedGeneration": generation,
    }
