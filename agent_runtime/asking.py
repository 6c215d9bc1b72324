"""What is asked and who asks: from a request to what a run knows of it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from agent_api.meta import CONVERSATION_HEADER, EPOCH_HEADER
from agent_api.placement import PLACEMENT_HEADER
from agent_runtime.access.caller import ANONYMOUS
from agent_runtime.core.conversation_ids import RANDOM_BYTES
from agent_runtime.core.conversations import Fresh, epoch_of, placement_of, turn_of
from agent_runtime.core.loop import Message
from agent_runtime.errors import invalid_field
from agent_runtime.outputs import FormatRefused, output_format
from agent_runtime.runs import Asker, Question

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from agent_runtime.access.caller import Caller
    from agent_runtime.core.conversation_ids import ConversationIds
    from agent_runtime.core.conversations import Turn
    from agent_runtime.outputs import OutputFormat
    from agent_runtime.routes.wire import RunRequest


def turn_in(request: Request, ids: ConversationIds, user: str, offered: str | None) -> Turn:
    """Place of a request in the conversation that its header names, else in the offered one, else in a new one."""
    headers = request.headers
    named = headers.get(CONVERSATION_HEADER) or offered
    placement = placement_of(headers.get(PLACEMENT_HEADER), named)
    fresh = Fresh(epoch_of(headers.get(EPOCH_HEADER)), placement, secrets.token_bytes(RANDOM_BYTES))
    return turn_of(ids, named, user, fresh)


def user_split_by(caller: Caller) -> str | None:
    """The user that a gateway may have told apart: named by a credential or by the header."""
    return None if caller.user == ANONYMOUS else caller.user


def asker_of(request: Request, caller: Caller, turn: Turn, offered: str | None) -> Asker:
    """Who asks in a request."""
    return Asker(
        request_id=request.state.request_id,
        user=caller.user,
        turn=turn,
        continues=request.headers.get(CONVERSATION_HEADER) or offered,
        headers=request.headers,
    )


def requested_format(response_format: Mapping[str, Any] | None) -> OutputFormat | None:
    """The format that a caller wants; raises Problem if it cannot be checked."""
    try:
        return output_format(response_format)
    except FormatRefused as refused:
        raise invalid_field("response_format", str(refused)) from None


def question_of(body: RunRequest) -> Question:
    """What a body of our own protocol asks; raises Problem if the format that it wants cannot be checked."""
    return Question(
        messages=(Message("user", body.query),),
        max_iterations=body.max_iterations,
        stream=body.stream,
        response_format=body.response_format,
        output=requested_format(body.response_format),
    )
