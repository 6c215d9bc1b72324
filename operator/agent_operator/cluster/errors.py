"""Errors of the API server, by what the caller can do about them.

ApiError
├── UnreachableError   nobody answered in time: try again with backoff
├── NotFoundError      the object, or its kind, is not there
├── ConflictError      somebody else wrote first, or owns a field: read again
├── RefusedError       the request is wrong or not allowed, and will be again
├── NamespaceEndingError  the namespace is being deleted: nothing is made in it any more
└── ServerError        the server failed: try again with backoff
"""

from __future__ import annotations

import json
import traceback
from http import HTTPStatus
from pathlib import Path


class ApiError(Exception):
    """The API server did not do what it was asked."""


class UnreachableError(ApiError):
    """The API server did not answer."""


class NotFoundError(ApiError):
    """There is no such object."""


class ConflictError(ApiError):
    """The object changed, exists already, or a field has another owner."""


class RefusedError(ApiError):
    """The API server will not do it: invalid, or not allowed."""


class NamespaceEndingError(ApiError):
    """The namespace is being deleted."""


class ServerError(ApiError):
    """The API server failed or is overloaded."""


def error_of(status: int, body: bytes, what: str) -> ApiError:
    """Error for an answer of 400 and above; `what` is the request in words, without its content."""
    message = f"{what}: {_message(body) or status}"
    if status == HTTPStatus.NOT_FOUND:
        return NotFoundError(message)
    if status == HTTPStatus.CONFLICT:
        return ConflictError(message)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError(message)
    if status == HTTPStatus.FORBIDDEN and "because it is being terminated" in message:
        return NamespaceEndingError(message)
    return RefusedError(message)


def _message(body: bytes) -> str:
    try:
        parsed = json.loads(body)
    except ValueError:
        return body[:200].decode(errors="replace")
    return str(parsed.get("message", ""))[:1000] if isinstance(parsed, dict) else ""


def told(error: Exception) -> str:
    """An error as logs and conditions may show it.

    Of one that nobody foresaw only its kind and place: its text may quote what a tenant wrote.
    """
    if isinstance(error, ApiError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
