"""`/agent/tasks`: work that takes longer than a request, followed, cancelled and approved."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from agent_api.meta import CONVERSATION_HEADER
from agent_runtime.asking import turn_in
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.answering import answer_or_problem, claimed_user
from agent_runtime.routes.body import invalid_fields, read_body
from agent_runtime.routes.streaming import EVENT_STREAM
from agent_runtime.routes.task_events import LAST_EVENT_HEADER, check_was_shown, number_of, task_events
from agent_runtime.routes.task_query import LIST_PARAMETERS, task_query
from agent_runtime.routes.task_wire import (
    ApprovalRequest,
    TaskAccepted,
    TaskDocument,
    TaskList,
    task_document,
    task_list,
)
from agent_runtime.routes.wire import PROBLEMS, RunRequest, body_of
from agent_runtime.tasks.records import (
    AlreadyDecided,
    CallNotFound,
    Decision,
    IdempotencyConflict,
    QueueFull,
    TaskClosed,
    TaskNotFound,
    TaskOrder,
    TaskRefused,
    TaskView,
)

if TYPE_CHECKING:
    from agent_runtime.core.conversation_ids import ConversationIds
    from agent_runtime.tasks.feed import EventFeed
    from agent_runtime.tasks.store import TaskStore

TASKS_PATH = "/agent/tasks"
IDEMPOTENCY_HEADER = "idempotency-key"
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{24}")
_CALL_ID = re.compile(r"[\x21-\x7e]{1,128}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_QUEUE_RETRY_SECONDS = 5


_HEADERS_OF_CREATION = (
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key with the same body is the same task; up to 255 visible ASCII characters.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[\x21-\x7e]+$"},
    },
)
_EVENT_STREAM: dict[str, Any] = {
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "Id of the last event that was seen.",
            "schema": {"type": "string", "pattern": "^[0-9]{1,15}$"},
        }
    ],
    "responses": {"200": {"description": "Events of the task.", "content": {EVENT_STREAM: {}}}},
}


Authenticate = Callable[[Request], Awaitable[str | None]]
"""Says who asks, None while access is off and nobody proves who he is; raises a Problem for who may not."""


async def _nothing(_request: Request, _body: RunRequest) -> None:
    """Refuse nothing."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class TaskDesk:
    """What the routes of tasks need.

    `refuse` raises a Problem for what must not become a task (guards, limits); `poke` tells this pod's worker of a new
    task; while `draining`, streams end, so that their readers go on elsewhere.
    """

    store: TaskStore
    feed: EventFeed
    authenticate: Authenticate
    ids: ConversationIds
    poke: Callable[[], None]
    refuse: Callable[[Request, RunRequest], Awaitable[None]] = _nothing
    draining: Callable[[], bool] = _never
    max_queue: int = 1000
    max_age_seconds: float = 86_400


def tasks_router(desk: TaskDesk) -> APIRouter:
    """Routes of tasks."""
    router = APIRouter(prefix=TASKS_PATH, responses=PROBLEMS)
    routes = _Routes(desk)

    @router.post(
        "", status_code=202, response_model=TaskAccepted, openapi_extra=_body(RunRequest, _HEADERS_OF_CREATION)
    )
    async def create(request: Request) -> Response:
        """Give the agent a task; the same idempotency key with the same body is the same task."""
        return await answer_or_problem(request, routes.create(request))

    @router.get("", response_model=TaskList, openapi_extra={"parameters": list(LIST_PARAMETERS)})
    async def list_open(request: Request) -> Response:
        """The calling user's tasks that have not ended, the newest first."""
        return await answer_or_problem(request, routes.list_open(request))

    @router.get("/{task_id}", response_model=TaskDocument)
    async def read(request: Request, task_id: str) -> Response:
        """State, progress and result of a task."""
        return await answer_or_problem(request, routes.read(request, task_id))

    @router.get("/{task_id}/events", openapi_extra=_EVENT_STREAM)
    async def events(request: Request, task_id: str) -> Response:
        """What happens in a task, as server-sent events; `Last-Event-ID` continues where a stream ended."""
        return await answer_or_problem(request, routes.events(request, task_id))

    @router.post("/{task_id}/cancel", status_code=202, response_model=TaskDocument)
    async def cancel(request: Request, task_id: str) -> Response:
        """End a task; one that runs ends within a second."""
        return await answer_or_problem(request, routes.cancel(request, task_id))

    @router.post("/{task_id}/approvals/{call_id}", response_model=TaskDocument, openapi_extra=_body(ApprovalRequest))
    async def decide(request: Request, task_id: str, call_id: str) -> Response:
        """Approve or reject a call of a tool; with the last decision the task goes on."""
        return await answer_or_problem(request, routes.decide(request, task_id, call_id))

    return router


def _body(model: type[BaseModel], parameters: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """What the OpenAPI page says of a body that the route reads itself."""
    return {**body_of(model), "parameters": list(parameters)}


class _Routes:
    """The routes' work; it raises Problem and StoreUnavailable."""

    def __init__(self, desk: TaskDesk) -> None:
        self._desk = desk

    async def create(self, request: Request) -> Response:
        desk = self._desk
        owner = await desk.authenticate(request)
        key = _idempotency_key(request)
        body = await read_body(request, RunRequest)
        await desk.refuse(request, body)
        user = claimed_user(request, body.user_id) if owner is None else owner
        order = self._order(request, body, user, key)
        try:
            created = await desk.store.create(order)
        except TaskRefused as refusal:
            raise problem_of(refusal) from None
        desk.poke()
        conversation, revision = order.conversation_id, order.revision
        if not created.fresh:
            known = await self._view(created.task_id, order.user)
            conversation, revision = known.conversation_id, known.revision
        answer = TaskAccepted(
            task_id=created.task_id, status=created.state, conversation_id=conversation, revision=revision
        )
        # Relative to this path, so that it also holds behind a front door that serves the agent under a prefix.
        headers = {"location": f"tasks/{created.task_id}", CONVERSATION_HEADER: conversation or ""}
        return Response(answer.model_dump_json(), HTTPStatus.ACCEPTED, headers, "application/json")

    async def list_open(self, request: Request) -> Response:
        query = task_query(request, await self._desk.authenticate(request))
        views = await self._desk.store.unended(query.user, query.state, query.limit)
        return Response(task_list(views).model_dump_json(), media_type="application/json")

    async def read(self, request: Request, task_id: str) -> Response:
        view = await self._view(task_id, await self._desk.authenticate(request))
        return Response(task_document(view).model_dump_json(), media_type="application/json")

    async def events(self, request: Request, task_id: str) -> Response:
        owner = await self._desk.authenticate(request)
        after = number_of(request.headers.get(LAST_EVENT_HEADER))
        check_was_shown(after, (await self._view(task_id, owner)).newest_event)
        return task_events(self._desk.store, self._desk.feed, task_id, after, self._desk.draining)

    async def cancel(self, request: Request, task_id: str) -> Response:
        owner = await self._desk.authenticate(request)
        try:
            await self._desk.store.cancel(_known(task_id), owner)
        except TaskRefused as refusal:
            raise problem_of(refusal) from None
        view = await self._view(task_id, owner)
        return Response(task_document(view).model_dump_json(), HTTPStatus.ACCEPTED, media_type="application/json")

    async def decide(self, request: Request, task_id: str, call_id: str) -> Response:
        owner = await self._desk.authenticate(request)
        body = await read_body(request, ApprovalRequest)
        who = claimed_user(request) if owner is None else owner
        decision = Decision(approved=body.decision == "approve", who=who, reason=body.reason)
        try:
            if _CALL_ID.fullmatch(call_id) is None:
                raise CallNotFound(call_id)
            await self._desk.store.decide(_known(task_id), owner, call_id, decision)
        except TaskRefused as refusal:
            raise problem_of(refusal) from None
        self._desk.poke()
        view = await self._view(task_id, owner)
        return Response(task_document(view).model_dump_json(), media_type="application/json")

    async def _view(self, task_id: str, owner: str | None) -> TaskView:
        try:
            return await self._desk.store.view(_known(task_id), owner)
        except TaskRefused as refusal:
            raise problem_of(refusal) from None

    def _order(self, request: Request, body: RunRequest, user: str, key: str | None) -> TaskOrder:
        desk = self._desk
        continues = request.headers.get(CONVERSATION_HEADER) or body.conversation_id
        turn = turn_in(request, desk.ids, user, body.conversation_id)
        return TaskOrder(
            request=body.model_dump(mode="json"),
            user=user,
            revision=desk.ids.revision,
            key=key,
            max_queue=desk.max_queue,
            max_age=desk.max_age_seconds,
            request_id=request.state.request_id,
            conversation_id=str(turn.conversation),
            continues=continues,
        )


def _known(task_id: str) -> str:
    """An id that may be one; others are part of no key of the store."""
    if _TASK_ID.fullmatch(task_id) is None:
        raise TaskNotFound(task_id)
    return task_id


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is not None and _KEY.fullmatch(key) is None:
        raise invalid_fields([(IDEMPOTENCY_HEADER, "Use 1 to 255 visible ASCII characters")])
    return key


def problem_of(refusal: TaskRefused) -> Problem:
    """The refusal as a caller is told of it."""
    match refusal:
        case TaskNotFound():
            return Problem(ProblemType.TASK_NOT_FOUND, HTTPStatus.NOT_FOUND, "There is no such task.")
        case CallNotFound():
            return Problem(ProblemType.TASK_NOT_FOUND, HTTPStatus.NOT_FOUND, "The task does not wait for this call.")
        case QueueFull():
            detail = f"No more tasks can wait now: {refusal}. Try again later."
            headers = {"retry-after": str(_QUEUE_RETRY_SECONDS)}
            return Problem(ProblemType.QUEUE_FULL, HTTPStatus.TOO_MANY_REQUESTS, detail, headers=headers)
        case IdempotencyConflict(task_id=task_id):
            detail = "The idempotency key was used with another body; use a new key for a new task."
            members = {"task_id": task_id}
            return Problem(ProblemType.IDEMPOTENCY_CONFLICT, HTTPStatus.CONFLICT, detail, members)
        case AlreadyDecided():
            detail = "The other decision about this call was made before."
            return Problem(ProblemType.TASK_STATE, HTTPStatus.CONFLICT, detail)
        case TaskClosed(state=state):
            detail = f"The task is {state}, and that does not allow it."
            return Problem(ProblemType.TASK_STATE, HTTPStatus.CONFLICT, detail, {"task_status": state})
        case _:
            raise refusal
