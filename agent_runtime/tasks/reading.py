"""What the store's answers mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from agent_runtime.core.task_state import Step, TaskState, progress_of
from agent_runtime.tasks.records import Claim, TaskView
from agent_runtime.tasks.runner import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

VIEW_FIELDS = (
    "state",
    "user",
    "revision",
    "created",
    "deadline",
    "ended",
    "moved_from",
    "conversation",
    "attempt",
    "iterations",
    "tool_calls",
    "cancel",
    "waiting",
    "result",
    "problem",
    "events",
)
END_MARK = "e:end:"
_STARTED, _RESULT = "s:", "r:"


def text(value: bytes | str) -> str:
    """A value of the store as text."""
    return value if isinstance(value, str) else value.decode()


def view_of(
    task_id: str, values: Sequence[bytes | None], decisions: Iterable[bytes], user: str | None
) -> TaskView | None:
    """The task of what was read of its fields; None if there is none for this user."""
    fields = {name: text(value) for name, value in zip(VIEW_FIELDS, values, strict=True) if value is not None}
    if "state" not in fields or user not in (None, fields["user"]):
        return None
    return TaskView(
        task_id=task_id,
        state=TaskState(fields["state"]),
        revision=fields["revision"],
        created=_seconds(fields["created"]),
        deadline=_seconds(fields["deadline"]),
        ended=_seconds(fields["ended"]) if "ended" in fields else None,
        moved_from=fields.get("moved_from"),
        conversation_id=fields.get("conversation"),
        attempt=int(fields["attempt"]),
        iterations=int(fields.get("iterations", 0)),
        tool_calls=int(fields.get("tool_calls", 0)),
        cancel_requested="cancel" in fields,
        waiting=tuple(json.loads(fields.get("waiting", "[]"))),
        decisions=tuple(_decision(json.loads(decision)) for decision in decisions),
        result=_document(fields, "result"),
        problem=_document(fields, "problem"),
        newest_event=int(fields.get("events", 0)),
    )


def claim_of(
    task_id: bytes, task: Sequence[bytes], step: Sequence[bytes], decisions: Sequence[bytes], now: bytes
) -> Claim:
    """The claim that a script answered: flat lists of fields and values, and the store's time."""
    fields, noted = _pairs(task), _pairs(step)
    decided = {call: json.loads(decision)["approved"] for call, decision in _pairs(decisions).items()}
    known = Step(
        started={call: int(noted[_STARTED + call]) for call in _after(_STARTED, noted)},
        results={call: noted[_RESULT + call] for call in _after(_RESULT, noted)},
        approved=frozenset(call for call, approved in decided.items() if approved),
        rejected=frozenset(call for call, approved in decided.items() if not approved),
    )
    return Claim(
        task=_task(text(task_id), fields, float(now)),
        fence=fields["fence"],
        progress=progress_of(json.loads(fields["progress"]), known) if "progress" in fields else None,
        step=known,
        ended_unseen=frozenset(known.results) - frozenset(_after(END_MARK, noted)),
    )


def _task(task_id: str, fields: Mapping[str, str], now: float) -> Task:
    return Task(
        id=task_id,
        user=fields["user"],
        revision=fields["revision"],
        request=json.loads(fields["request"]),
        attempt=int(fields["attempt"]),
        seconds_left=max(0.0, (float(fields["deadline"]) - now) / 1000),
        request_id=fields.get("request_id", ""),
        run_id=fields.get("run_id", task_id),
        conversation_id=fields.get("conversation"),
        continues=fields.get("continues"),
        moved_from=fields.get("moved_from"),
    )


def _after(prefix: str, noted: Iterable[str]) -> list[str]:
    return [name.removeprefix(prefix) for name in noted if name.startswith(prefix)]


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    values = map(text, flat)
    return dict(zip(values, values, strict=True))


def _decision(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "at": document["at"] / 1000}


def _document(fields: Mapping[str, str], name: str) -> dict[str, Any] | None:
    return json.loads(fields[name]) if name in fields else None


def _seconds(milliseconds: str) -> float:
    return float(milliseconds) / 1000
