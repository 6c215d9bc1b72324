"""Turns a failed call into the one line that a person needs; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING

from agentctl.errors import ApiError, MissingError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NAMES = 10
INSTALL = "helm upgrade --install greylag charts/greylag --namespace greylag-system --create-namespace"


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the API server, in the words of RBAC."""

    verb: str
    resource: str
    namespace: str | None
    name: str | None = None

    @property
    def permission(self) -> str:
        """What has to be granted."""
        return f"{self.verb} {self.resource} {self.scope}"

    @property
    def scope(self) -> str:
        """Where."""
        return f"in namespace {self.namespace}" if self.namespace else "in all namespaces"

    @property
    def question(self) -> str:
        """The kubectl command that tells whether it is granted."""
        where = f"-n {self.namespace}" if self.namespace else "-A"
        return f"kubectl auth can-i {self.verb} {self.resource} {where}"


def failure(call: Call, status: int, body: str | bytes | None) -> ApiError:
    """The error for an answer of the API server; status 0 is an answer that never came."""
    message, is_status = _message(body)
    known = {
        HTTPStatus.UNAUTHORIZED: "the API server does not accept your credentials; another --context?",
        HTTPStatus.FORBIDDEN: f"missing permission: {call.permission} (check: {call.question})",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"the API server finds the request too large: {message}",
    }
    if status in known:
        return ApiError(known[HTTPStatus(status)])
    if status == HTTPStatus.NOT_FOUND and not is_status:
        return ApiError(f"{call.resource} is not installed in this cluster; install Greylag: {INSTALL}")
    if status == HTTPStatus.NOT_FOUND:
        return MissingError(f"{call.resource} {call.name or ''} not found {call.scope}")
    if status in {0, HTTPStatus.TOO_MANY_REQUESTS} or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnreachableError(f"the API server answered {status} to {call.permission}: {message or 'no message'}")
    return ApiError(f"the API server refused to {call.permission}: {message or f'status {status}'}")


def _message(body: str | bytes | None) -> tuple[str, bool]:
    """Text of an answer on one line, and whether it was a Status object."""
    try:
        document = json.loads(body or "")
    except ValueError:
        text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
        return " ".join(text.split())[:300], False
    if not isinstance(document, dict) or document.get("kind") != "Status":
        return "", False
    return " ".join(str(document.get("message", "")).split()), True


def agent_not_found(name: str, namespace: str, existing: Sequence[str]) -> ApiError:
    """The error for a name that is not there: the nearest one that is, or all."""
    text = f"there is no AgentDeployment {name} in namespace {namespace}"
    near = get_close_matches(name, existing, n=1)
    if near:
        return ApiError(f"{text}; did you mean {near[0]}?")
    if not existing:
        return ApiError(f"{text}, nor any other; look in all namespaces with `get -A`")
    more = f" and {len(existing) - MAX_NAMES} more" if len(existing) > MAX_NAMES else ""
    return ApiError(f"{text}; there is: {', '.join(sorted(existing)[:MAX_NAMES])}{more}")
