"""An agent's own HTTP API, of which agentctl uses the tasks."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from agentctl.errors import ApiError, UnreachableError
from agentctl.layout import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Document = dict[str, Any]

TASKS_PATH = "/agent/tasks"
USER_HEADER = "x-user-id"
TIMEOUT_SECONDS = 30.0
"""Also above the pause between the signs of life of a stream of events."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 2 * 1024 * 1024
_MAX_PROBLEM = 500


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the credential elsewhere."""

    def redirect_request(self, *_arguments: object) -> None:
        return None


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One event of a task with the number by which a stream is continued."""

    number: str
    document: Mapping[str, Any]

    @property
    def type(self) -> str:
        """What happened."""
        return str(self.document.get("type", ""))


@dataclass(frozen=True, slots=True)
class AgentHttp:
    """Calls one agent.

    Every method raises ApiError with a line for a person, and its UnreachableError where it may help to try again.
    """

    url: str
    token: str | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no URL of an agent."""
        if urlsplit(self.url).scheme not in {"http", "https"} or not urlsplit(self.url).hostname:
            raise ApiError(f"--url {self.url}: must be the URL of an agent, such as http://127.0.0.1:8080")

    def start(self, query: str, conversation: str | None) -> Document:
        """Give the agent a task."""
        body = {"query": query} | ({"conversation_id": conversation} if conversation else {})
        return self._json("POST", TASKS_PATH, body)

    def get(self, task: str) -> Document:
        """The document of a task."""
        return self._json("GET", _path(task))

    def cancel(self, task: str) -> Document:
        """End a task."""
        return self._json("POST", _path(task, "cancel"))

    def decide(self, task: str, call: str, decision: str, reason: str) -> Document:
        """Approve or reject a call."""
        return self._json("POST", _path(task, "approvals", call), {"decision": decision, "reason": reason})

    def events(self, task: str, after: str) -> Iterator[TaskEvent]:
        """Events of a task after one, until the stream ends, which it may do before the task."""
        headers = {"last-event-id": after} if after else {}
        with self._open("GET", _path(task, "events"), None, headers) as stream:
            yield from _events(stream)

    def _json(self, method: str, path: str, body: object = None) -> Document:
        with self._open(method, path, body, {}) as answer:
            content = answer.read(MAX_ANSWER_BYTES + 1)
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ApiError(f"{self.url} does not answer as an agent; is it the URL of one?")
        return document

    @contextmanager
    def _open(
        self, method: str, path: str, body: object, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.url.rstrip("/") + path, sent, self._headers() | headers, method=method
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS) as answer:
                yield answer
        except urllib.error.HTTPError as refusal:
            raise _failure(self.url, refusal) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError(f"{self.url} does not answer: {_reason(error)}; does the agent run?") from None

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        headers |= {"authorization": f"Bearer {self.token}"} if self.token else {}
        return headers | ({USER_HEADER: self.user} if self.user else {})


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    return printable(str(getattr(inner, "strerror", None) or inner or type(inner).__name__))


def _path(*parts: str) -> str:
    return "/".join((TASKS_PATH, *(quote(part, safe="") for part in parts)))


def _failure(url: str, refusal: urllib.error.HTTPError) -> ApiError:
    """The detail of the problem document, which names the way out."""
    try:
        document = json.loads(refusal.read(MAX_ANSWER_BYTES))
        detail = printable(str(document["detail"]))[:_MAX_PROBLEM]
    except (ValueError, LookupError, TypeError, OSError):
        detail = f"{url} answered {refusal.code} and no reason; is it the URL of an agent?"
    return UnreachableError(detail) if refusal.code in {429, 502, 503, 504} else ApiError(detail)


def _events(stream: http.client.HTTPResponse) -> Iterator[TaskEvent]:
    number, data = "", b""
    while line := stream.readline(MAX_LINE_BYTES):
        name, _, value = line.rstrip(b"\r\n").partition(b": ")
        if name == b"id":
            number = value.decode("ascii", "replace")
        elif name == b"data":
            data = value
        elif not name and data:
            yield TaskEvent(number, _document(data))
            data = b""


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ApiError("the stream of events cannot be read; is agentctl of the version of the agent?")
    return document
