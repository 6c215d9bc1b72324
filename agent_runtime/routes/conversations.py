"""`/agent/conversations`: users may have forgotten what they said."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from agent_api.meta import USER_HEADER
from agent_runtime.access.caller import ANONYMOUS
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.answering import answer_or_problem, claimed_user
from agent_runtime.routes.wire import PROBLEMS

if TYPE_CHECKING:
    from agent_runtime.conversations.history import ConversationStore
    from agent_runtime.core.conversation_ids import ConversationIds
    from agent_runtime.routes.tasks import Authenticate

CONVERSATIONS_PATH = "/agent/conversations"


class Forgotten(BaseModel):
    """How many conversations were deleted."""

    model_config = ConfigDict(frozen=True)

    deleted: int = Field(ge=0)


def conversations_router(store: ConversationStore, ids: ConversationIds, authenticate: Authenticate) -> APIRouter:
    """Routes of conversations."""
    router = APIRouter(prefix=CONVERSATIONS_PATH, responses=PROBLEMS)

    async def forget_all(request: Request) -> Response:
        owner = await authenticate(request)
        user = claimed_user(request) if owner is None else owner
        if owner is None and user == ANONYMOUS:
            # All anonymous callers share one user: none of them may delete what the others said.
            detail = f"Say whose conversations with header {USER_HEADER}, or delete one by its id."
            raise Problem(ProblemType.INVALID_REQUEST, HTTPStatus.BAD_REQUEST, detail)
        return _forgotten(await store.delete_user(user))

    async def forget_one(request: Request, conversation_id: str) -> Response:
        owner = await authenticate(request)
        user = claimed_user(request) if owner is None else owner
        # What was said under an id of the caller's own is kept under the one that it stands for.
        deleted = await store.delete(conversation_id, user)
        if ids.continued(conversation_id) is None:
            deleted |= await store.delete(str(ids.of_foreign(conversation_id, user)), user)
        return _forgotten(int(deleted))

    @router.delete("", response_model=Forgotten)
    async def delete_all(request: Request) -> Response:
        """Forget all conversations of the calling user."""
        return await answer_or_problem(request, forget_all(request))

    @router.delete("/{conversation_id}", response_model=Forgotten)
    async def delete_one(request: Request, conversation_id: str) -> Response:
        """Forget one conversation of the calling user."""
        return await answer_or_problem(request, forget_one(request, conversation_id))

    return router


def _forgotten(count: int) -> Response:
    return Response(Forgotten(deleted=count).model_dump_json(), media_type="application/json")
