"""What the OpenAPI description says of what many routes read by themselves: credentials, the user, the conversation."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from agent_api.meta import CONVERSATION_HEADER, USER_HEADER
from agent_runtime.access.caller import ANONYMOUS, MAX_USER_CHARACTERS
from agent_runtime.access.control import API_KEY_HEADER
from agent_runtime.routes.chat import CHAT_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CALLERS_PATHS = ("/agent/", "/v1/")
_PLACED = ("/agent/run", "/agent/tasks", CHAT_PATH)
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of the agent's issuer, or an API key, as `spec.access` says.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": API_KEY_HEADER, "description": "An API key."},
}
# The first stands for none: where access is off, everybody may ask.
_SECURITY: tuple[dict[str, list[str]], ...] = ({}, {"bearer": []}, {"apiKey": []})
_USER = {
    "name": USER_HEADER,
    "in": "header",
    "description": "Who asks, where access is off; else the credential says.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_USER_CHARACTERS, "default": ANONYMOUS},
}
_CONVERSATION = {
    "name": CONVERSATION_HEADER,
    "in": "header",
    "description": "Id from an earlier answer, to continue that conversation.",
    "schema": {"type": "string"},
}


def with_callers(description: Mapping[str, Any]) -> dict[str, Any]:
    """The description, with what says who asks and in which conversation at each operation that reads it."""
    described = deepcopy(dict(description))
    described.setdefault("components", {})["securitySchemes"] = _SCHEMES
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if path.startswith(_CALLERS_PATHS):
                operation["security"] = list(_SECURITY)
                operation["parameters"] = [*operation.get("parameters", ()), *_headers(path, method)]
    return described


def _headers(path: str, method: str) -> Iterator[dict[str, Any]]:
    if path.startswith("/agent/") or path == CHAT_PATH:
        yield _USER
    if path in _PLACED and method == "post":
        yield _CONVERSATION
