"""Problem documents (RFC 9457): how every refusal and failure is told to the caller."""

from __future__ import annotations

import json
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM_MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:greylag:problem:"


class ProblemType(StrEnum):
    """Stable names of problems; callers may branch on `urn:greylag:problem:<name>`."""

    INVALID_REQUEST = "invalid-request"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    REQUEST_TOO_LARGE = "request-too-large"
    REQUEST_TIMEOUT = "request-timeout"
    NOT_FOUND = "not-found"
    METHOD_NOT_ALLOWED = "method-not-allowed"
    HTTP_ERROR = "http-error"
    NOT_READY = "not-ready"
    MODEL_UNAVAILABLE = "model-unavailable"
    QUESTION_TOO_LONG = "question-too-long"
    CONTENT_REFUSED = "content-refused"
    FORM_REFUSED = "form-refused"
    DEADLINE_EXCEEDED = "deadline-exceeded"
    STREAM_BROKEN = "stream-broken"
    ATTEMPTS_EXHAUSTED = "attempts-exhausted"
    ITERATIONS_EXHAUSTED = "iterations-exhausted"
    TOOL_LOOP = "tool-loop"
    OUTPUT_INVALID = "output-invalid"
    GUARD_BLOCKED = "guard-blocked"
    RATE_LIMITED = "rate-limited"
    BUDGET_EXCEEDED = "budget-exceeded"
    LEDGER_UNAVAILABLE = "ledger-unavailable"
    STORE_UNAVAILABLE = "store-unavailable"
    UNAUTHORIZED = "unauthorized"
    ACCESS_UNAVAILABLE = "access-unavailable"
    APPROVAL_REQUIRED = "approval-required"
    TASK_NOT_FOUND = "task-not-found"
    TASK_STATE = "task-state"
    QUEUE_FULL = "queue-full"
    IDEMPOTENCY_CONFLICT = "idempotency-conflict"
    APPROVAL_TIMEOUT = "approval-timeout"
    TASK_EXPIRED = "task-expired"
    TASK_ABANDONED = "task-abandoned"
    TASK_TOO_LARGE = "task-too-large"
    INTERNAL = "internal"

    @property
    def summary(self) -> str:
        """Summary that is the same for every occurrence."""
        return self.replace("-", " ").capitalize()


class Problem(Exception):
    """A refusal or failure on its way to the caller; `members` are further members of the document."""

    def __init__(
        self,
        type_: ProblemType,
        status: HTTPStatus,
        detail: str,
        members: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = type_
        self.status = status
        self.detail = detail
        self._members = dict(members or {})
        self._headers = dict(headers or {})

    def document(self, **members: object) -> dict[str, object]:
        """The problem document, with further members such as the request id."""
        return {
            "type": TYPE_PREFIX + self.type,
            "title": self.type.summary,
            "status": self.status.value,
            "detail": self.detail,
            **self._members,
            **members,
        }

    def response(self, **members: object) -> Response:
        """Answer that carries the problem, with further members such as the request id."""
        return Response(json.dumps(self.document(**members)), self.status, self._headers, PROBLEM_MEDIA_TYPE)


def openai_error(problem: Problem) -> dict[str, str | None]:
    """A problem as clients of the OpenAI protocol read it; it stands inside the problem document as `error`."""
    return {"message": problem.detail, "type": problem.type.value, "code": problem.type.value, "param": None}


def invalid_field(field: str, message: str) -> Problem:
    """What is wrong with one field or header of a request."""
    errors = [{"field": field, "message": message}]
    return Problem(ProblemType.INVALID_REQUEST, HTTPStatus.BAD_REQUEST, f"{field}: {message}.", {"errors": errors})


def internal_problem() -> Problem:
    """What the caller learns of a fault of ours: nothing but that it is logged."""
    return Problem(
        ProblemType.INTERNAL, HTTPStatus.INTERNAL_SERVER_ERROR, "The run failed unexpectedly; the log has the cause."
    )
