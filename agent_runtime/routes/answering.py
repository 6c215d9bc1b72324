"""Turns what routes of the store raise into answers."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from agent_api.meta import USER_HEADER
from agent_runtime.access.caller import ANONYMOUS, user_of_header
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.store.circuit import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.requests import Request

CLIENT_CLOSED_REQUEST = 499
_RETRY_AFTER = {"retry-after": "1"}


async def answer_or_problem(request: Request, work: Awaitable[Response]) -> Response:
    """The answer of the work, or the problem document that says why there is none."""
    try:
        return await work
    except Problem as problem:
        return problem.response(request_id=request.state.request_id)
    except StoreUnavailable as error:
        return store_problem(error).response(request_id=request.state.request_id)
    except ClientDisconnect:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


def store_problem(error: StoreUnavailable) -> Problem:
    """What a caller learns while the store is away."""
    detail = f"The store did not answer ({error}); try again."
    return Problem(ProblemType.STORE_UNAVAILABLE, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=_RETRY_AFTER)


def claimed_user(request: Request, said: str = ANONYMOUS) -> str:
    """Who a caller says he is while access is off: in the header, else in the body; raises Problem."""
    named = request.headers.get(USER_HEADER)
    return user_of_header(named) if named else said
