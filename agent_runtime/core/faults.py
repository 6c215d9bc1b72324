"""What can go wrong with one model call, and whether asking the same endpoint again may help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class FaultKind(StrEnum):
    """Cause of a failed model call; the values are label values of a metric."""

    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    CONNECTION = "connection"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  # noqa: S105 - not a password
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CUT = "cut"
    MALFORMED = "malformed"
    REFUSED = "refused"
    CREDENTIAL = "credential"

    @property
    def retryable(self) -> bool:
        """Whether the same endpoint may answer the same call later."""
        return self not in (FaultKind.REFUSED, FaultKind.CREDENTIAL)


class Complaint(StrEnum):
    """What a provider refuses about a question, which another revision would be refused as well."""

    TOO_LONG = "too long"
    CONTENT = "content"
    FORM = "form"


_COMPLAINTS = {
    "context_length_exceeded": Complaint.TOO_LONG,
    "exceed_context_size_error": Complaint.TOO_LONG,
    "string_above_max_length": Complaint.TOO_LONG,
    "request_too_large": Complaint.TOO_LONG,
    "content_filter": Complaint.CONTENT,
    "content_policy_violation": Complaint.CONTENT,
    "ResponsibleAIPolicyViolation": Complaint.CONTENT,
    "invalid_prompt": Complaint.CONTENT,
}
_BAD_FORM = frozenset({400, 422})
_TOO_LARGE = 413


@dataclass(frozen=True, slots=True)
class Fault:
    """One failed call; `cause` says more than its kind, in our words.

    Of the provider's text, which may quote a key, it holds no more than `code`, one plain word.
    """

    kind: FaultKind
    status: int | None = None
    retry_after: float | None = None
    code: str = ""
    cause: str = ""

    def complaint(self, *, callers_form: bool) -> Complaint | None:
        """What the provider refuses about the question; None if the fault is the agent's or the provider's.

        With `callers_form` the caller brought tools or a format of his own, so that a refused form is taken as his.
        """
        if self.kind is not FaultKind.REFUSED:
            return None
        if self.status == _TOO_LARGE:
            return Complaint.TOO_LONG
        if self.status not in _BAD_FORM:
            return None
        return _COMPLAINTS.get(self.code) or (Complaint.FORM if callers_form else None)

    def __str__(self) -> str:
        """Write the fault as an operator of the agent should read it."""
        cause = self.cause or self.kind.replace("_", " ")
        notes = [*([] if self.status is None else [f"status {self.status}"]), *([self.code] if self.code else [])]
        return f"{cause} ({', '.join(notes)})" if notes else cause


_PLAIN_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MEDIA_TYPE = re.compile(r"[a-z0-9_.+-]{1,40}/[a-z0-9_.+-]{1,40}")
_RETRYABLE_CLIENT_ERRORS = {408: FaultKind.UNAVAILABLE, 409: FaultKind.UNAVAILABLE, 429: FaultKind.RATE_LIMITED}
_FIRST_SERVER_ERROR = 500


def fault_of_status(status: int, headers: Mapping[str, str], now: float, code: str = "") -> Fault:
    """Classify an answer that is not a success; `now` is Unix time, for a Retry-After that is a date."""
    kind = _RETRYABLE_CLIENT_ERRORS.get(status)
    if kind is None:
        kind = FaultKind.UNAVAILABLE if status >= _FIRST_SERVER_ERROR else FaultKind.REFUSED
    return Fault(kind, status, retry_after_seconds(headers, now), code)


def fault_of_media_type(media_type: str) -> Fault:
    """Fault of a success that is no stream of events: it stays one, however often it is asked for."""
    answered = media_type if _MEDIA_TYPE.fullmatch(media_type) else "something else"
    return Fault(FaultKind.REFUSED, cause=f"answered {answered}, not an event stream (is baseURL right?)")


def error_code_of(document: object) -> str:
    """What a provider's error calls itself: its code, else its type; empty unless that is one plain word."""
    match document:
        case {"error": {**error}}:
            names = (error.get("code"), error.get("type"))
            return next((name for name in names if isinstance(name, str) and _PLAIN_WORD.fullmatch(name)), "")
        case _:
            return ""


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the provider asks to wait (retry-after-ms; Retry-After as seconds or date); None if it is silent."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    number = _number(text)
    if number is not None or text is None:
        return number
    try:
        moment = parsedate_to_datetime(text)
        return max(0.0, moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and 0 <= number < float("inf") else None
