"""What `GET /agent/tasks` is asked for: whose tasks, in which state, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent_runtime.access.caller import ANONYMOUS, MAX_USER_CHARACTERS, is_user
from agent_runtime.core.task_state import TaskState
from agent_runtime.routes.answering import claimed_user
from agent_runtime.routes.body import invalid_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.datastructures import QueryParams
    from starlette.requests import Request

MAX_LISTED = 100
DEFAULT_LISTED = 20
_MAX_SHOWN_CHARACTERS = 40
_OPEN_STATES = tuple(state.value for state in TaskState if not state.terminal)

LIST_PARAMETERS: tuple[dict[str, Any], ...] = (
    {
        "name": "status",
        "in": "query",
        "description": "Only tasks in this state.",
        "schema": {"type": "string", "enum": list(_OPEN_STATES)},
    },
    {
        "name": "limit",
        "in": "query",
        "description": "Most tasks to list.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LISTED, "default": DEFAULT_LISTED},
    },
    {
        "name": "user_id",
        "in": "query",
        "description": "Whose tasks, where access is off; the header `x-user-id` wins.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_USER_CHARACTERS, "default": ANONYMOUS},
    },
)


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Tasks that are asked for; `state` is None for all states."""

    user: str
    state: TaskState | None
    limit: int


def task_query(request: Request, owner: str | None) -> TaskQuery:
    """What a request asks for; `owner` is its user by credential, None where access is off.

    Raises
    ------
    Problem
        With each parameter that is wrong, and what is allowed.
    """
    asked = request.query_params
    wrong = list(_wrong_parameters(asked))
    if wrong:
        raise invalid_fields(wrong)
    state = asked.get("status")
    return TaskQuery(
        user=claimed_user(request, asked.get("user_id", ANONYMOUS)) if owner is None else owner,
        state=None if state is None else TaskState(state),
        limit=int(asked.get("limit", DEFAULT_LISTED)),
    )


def _wrong_parameters(asked: QueryParams) -> Iterator[tuple[str, str]]:
    for name, (is_allowed, allowed) in _ALLOWED.items():
        values = asked.getlist(name)
        if len(values) > 1:
            yield name, f"It is given {len(values)} times; give it once"
        elif values and not is_allowed(values[0]):
            yield name, f"{values[0][:_MAX_SHOWN_CHARACTERS]!r} is not {allowed}"


def _is_limit(value: str) -> bool:
    digits = value.isascii() and value.isdigit() and len(value) <= len(str(MAX_LISTED))
    return digits and 1 <= int(value) <= MAX_LISTED


_ALLOWED: dict[str, tuple[Callable[[str], bool], str]] = {
    "status": (_OPEN_STATES.__contains__, f"a state of tasks that have not ended: {', '.join(_OPEN_STATES)}"),
    "limit": (_is_limit, f"a number from 1 to {MAX_LISTED}"),
    "user_id": (is_user, f"a user's name: 1 to {MAX_USER_CHARACTERS} printable characters, no spaces around them"),
}
