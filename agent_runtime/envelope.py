"""What is the same for every answer: its headers, and a problem document for what nobody foresaw."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders

from agent_api.meta import OUTCOME_HEADER, REQUEST_ID_HEADER, REVISION_HEADER
from agent_api.observations import Outcome
from agent_runtime.errors import internal_problem, openai_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from agent_runtime.process import Drain

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}")
_log = structlog.get_logger("agent_runtime")


class Envelope:
    """Middleware around the application."""

    def __init__(self, app: ASGIApp, *, revision: str, drain: Drain) -> None:
        self._app = app
        self._revision = revision
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(Headers(scope=scope))
        scope.setdefault("state", {})["request_id"] = request_id
        begun = unforeseen = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._add_headers(MutableHeaders(raw=message["headers"]), request_id, marked=not unforeseen)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            _log.exception("request failed unexpectedly", request_id=request_id)
            if begun:
                raise
            unforeseen = True
            problem = internal_problem()
            # Beside what it says to everybody, the member that clients of the OpenAI protocol read.
            answer = problem.response(request_id=request_id, error=openai_error(problem))
            await answer(scope, receive, send_with_headers)

    def _add_headers(self, headers: MutableHeaders, request_id: str, *, marked: bool) -> None:
        headers[REQUEST_ID_HEADER] = request_id
        headers[REVISION_HEADER] = self._revision
        # The gateway counts answers without the mark: what is no run must not count, what nobody booked must.
        if marked:
            headers.setdefault(OUTCOME_HEADER, Outcome.EXCLUDED)
        if self._drain.begun:
            headers["connection"] = "close"


def request_id_of(headers: Headers) -> str:
    """Request id that the caller or the gateway gave, or a new one if that is not fit to be passed on."""
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
