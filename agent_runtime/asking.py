"""Who asks: the caller of a request, and the place of the request in a conversation."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from agent_api.meta import CONVERSATION_HEADER, EPOCH_HEADER
from agent_runtime.core.conversations import epoch_of, turn_of
from agent_runtime.runs import Asker

if TYPE_CHECKING:
    from starlette.requests import Request

    from agent_runtime.access.caller import Caller
    from agent_runtime.core.conversations import Turn

TOKEN_BYTES = 12


def turn_in(request: Request, revision: str, offered: str | None) -> Turn:
    """Place of a request in the conversation that its header names, else in the offered one, else in a new one."""
    epoch = epoch_of(request.headers.get(EPOCH_HEADER))
    named = request.headers.get(CONVERSATION_HEADER) or offered
    return turn_of(named, revision, epoch, secrets.token_urlsafe(TOKEN_BYTES))


def asker_of(request: Request, caller: Caller, turn: Turn, offered: str | None) -> Asker:
    """Who asks in a request."""
    return Asker(
        request_id=request.state.request_id,
        user=caller.user,
        turn=turn,
        continues=request.headers.get(CONVERSATION_HEADER) or offered,
        headers=request.headers,
    )
