"""An agent's own HTTP API, of which agentctl uses the tasks."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from agentctl.errors import ApiError, UnreachableError
from agentctl.text.layout import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agentctl.document import Document

TASKS_PATH = "/agent/tasks"
USER_HEADER = "x-user-id"
TOKEN_VARIABLE = "AGENTCTL_TOKEN"  # noqa: S105 - the name of a variable
TIMEOUT_SECONDS = 30.0
"""Also above the pause between the signs of life of a stream of events."""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 2 * 1024 * 1024
MAX_USER_CHARACTERS = 256
MAX_LISTED = 100
_MAX_PROBLEM = 500
_MAX_SHOWN = 80
_TRY_AGAIN = frozenset({429, 502, 503, 504})


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
        """Refuse what cannot be sent, before anything is."""
        if "@" in self.url:
            raise ApiError(f"--url: must hold no user or password; set {TOKEN_VARIABLE} to the API key or token")
        if not _is_http_url(self.url):
            shown = printable(self.url)
            raise ApiError(f"--url {shown}: must be the URL of an agent, such as http://127.0.0.1:8080")
        if self.user is not None and not _is_user(self.user):
            shown = ascii(self.user if len(self.user) <= _MAX_SHOWN else f"{self.user[:_MAX_SHOWN]}...")
            form = f"1 to {MAX_USER_CHARACTERS} printable characters, no spaces around them"
            raise ApiError(f"--user {shown}: a user's name has {form}; leave it out to be anonymous")
        if self.token is not None and not _is_visible(self.token):
            raise ApiError(f"{TOKEN_VARIABLE}: set it to one line of printable ASCII, with no spaces around it")

    def start(self, query: str, conversation: str | None) -> Document:
        """Give the agent a task."""
        body = {"query": query} | ({"conversation_id": conversation} if conversation else {})
        return self._json("POST", TASKS_PATH, body)

    def unended(self, status: str | None) -> list[Document]:
        """Tasks of the user that have not ended, those in one state if it is given; the newest first."""
        asked = {"limit": str(MAX_LISTED)} | ({"status": status} if status else {})
        tasks = self._json("GET", f"{TASKS_PATH}?{urlencode(asked)}").get("tasks")
        if not isinstance(tasks, list):
            raise ApiError(f"{self.url} does not answer as an agent; is it the URL of one?")
        return tasks

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
            raise self._failure(path, refusal) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UnreachableError(f"{self.url} does not answer: {_reason(error)}; does the agent run?") from None

    def _failure(self, path: str, refusal: urllib.error.HTTPError) -> ApiError:
        """The detail of the problem document, with what it does not know: what was asked where, and by what."""
        detail, task = _detail(refusal), _task_of(path)
        text = detail or f"{self.url} answered {refusal.code} and no reason; is it the URL of an agent?"
        if refusal.code == HTTPStatus.NOT_FOUND and detail and task:
            text = f"task {task} at {self.url}: {detail}"
        if refusal.code == HTTPStatus.UNAUTHORIZED:
            sent = f"It was taken from {TOKEN_VARIABLE}: set that to an API key or token of this agent."
            text = f"{text} {sent if self.token else f'Set {TOKEN_VARIABLE} to the API key or token.'}"
        return UnreachableError(text) if refusal.code in _TRY_AGAIN else ApiError(text)

    def _headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json"}
        headers |= {"authorization": f"Bearer {self.token}"} if self.token else {}
        # The client writes headers as Latin-1, and the agent reads this one as UTF-8.
        return headers | ({USER_HEADER: self.user.encode().decode("latin-1")} if self.user else {})


def _is_http_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _is_user(name: str) -> bool:
    """Whether an agent takes a name."""
    return 0 < len(name) <= MAX_USER_CHARACTERS and name.isprintable() and name == name.strip()


def _is_visible(token: str) -> bool:
    return token.isascii() and token.isprintable() and token == token.strip()


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    return printable(str(getattr(inner, "strerror", None) or inner or type(inner).__name__))


def _path(*parts: str) -> str:
    return "/".join((TASKS_PATH, *(quote(part, safe="", errors="replace") for part in parts)))


def _detail(refusal: urllib.error.HTTPError) -> str:
    """The detail of the problem document; empty if there is none."""
    try:
        return printable(str(json.loads(refusal.read(MAX_ANSWER_BYTES))["detail"]))[:_MAX_PROBLEM]
    except (ValueError, LookupError, TypeError, OSError):
        return ""


def _task_of(path: str) -> str:
    """Id of the task that a path is of; empty if it is of none."""
    return printable(unquote(path.removeprefix(TASKS_PATH).removeprefix("/").partition("/")[0]))[:_MAX_SHOWN]


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
