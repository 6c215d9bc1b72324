"""Reads the body of a run and says what is wrong with it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.wire import MEMBER_TAGS, RunRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails
    from starlette.requests import Request

MAX_BODY_BYTES = 1024 * 1024
MAX_DISCARDED_BYTES = 8 * MAX_BODY_BYTES
"""How much of a body that is too large is read to its end: a client reset in mid-body would not see the answer."""

BODY_SECONDS = 30.0
_MAX_REPORTED_ERRORS = 10
_MAX_FIELD_CHARACTERS = 100


T = TypeVar("T", bound=BaseModel)


async def read_run_request(request: Request) -> RunRequest:
    """Run that a body asks for; raises as `read_body` does."""
    return await read_body(request, RunRequest)


async def read_body(request: Request, model: type[T]) -> T:
    """Request in the body.

    Raises
    ------
    Problem
        With the field and what is allowed, if it is not one.
    starlette.requests.ClientDisconnect
        If the client went away before the end of the body.
    """
    _check_media_type(request.headers.get("content-type"))
    _check_encoding(request.headers.getlist("content-encoding"))
    body = await _read(request)
    if not body.strip():
        raise invalid_fields([("", f"The body is empty; it must be {_object_of(model)}")])
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _invalid(error, model) from None


def _check_media_type(content_type: str | None) -> None:
    # A missing type is taken as JSON; a wrong one shows that the caller means something else.
    if content_type is None:
        return
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part.partition("=")[2].strip('"') for part in parameters if part.startswith("charset=")]
    if media_type != "application/json" or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise Problem(
            ProblemType.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json in UTF-8.",
        )


def _check_encoding(codings: list[str]) -> None:
    asked = ", ".join(codings)
    if all(coding.strip().lower() in ("", "identity") for coding in asked.split(",")):
        return
    raise Problem(
        ProblemType.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        f"content-encoding: {asked[:_MAX_FIELD_CHARACTERS]} is not understood; send the body as it is.",
        headers={"accept-encoding": "identity"},
    )


async def _read(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > MAX_DISCARDED_BYTES:
        raise _too_large()
    body, length = bytearray(), 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                length += len(part)
                if length > MAX_DISCARDED_BYTES:
                    raise _too_large()
                if length <= MAX_BODY_BYTES:
                    body += part
    except TimeoutError:
        detail = f"The body did not arrive within {BODY_SECONDS:.0f} seconds."
        raise Problem(ProblemType.REQUEST_TIMEOUT, HTTPStatus.REQUEST_TIMEOUT, detail) from None
    if length > MAX_BODY_BYTES:
        raise _too_large()
    return bytes(body)


def _too_large() -> Problem:
    return Problem(
        ProblemType.REQUEST_TOO_LARGE,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body may have at most {MAX_BODY_BYTES} bytes.",
        # The rest of the body may be unread, and then the connection cannot carry another request.
        headers={"connection": "close"},
    )


def _invalid(error: ValidationError, model: type[BaseModel]) -> Problem:
    details = error.errors(include_input=False, include_url=False, include_context=False)
    # What is of another type has other fields: that it lacks those of this one says nothing.
    of_another_type = {
        item["loc"][:-1] for item in details if item["type"] != "missing" and item["loc"][-1:] == ("type",)
    }
    return invalid_fields(
        (_path(item), _message(item, model))
        for item in details
        if item["type"] != "missing" or item["loc"][:-1] not in of_another_type
    )


def invalid_fields(wrong: Iterable[tuple[str, str]]) -> Problem:
    """Refusal of a body because of these fields, each with what is wrong."""
    errors = [{"field": field, "message": message} for field, message in islice(wrong, _MAX_REPORTED_ERRORS)]
    summary = "; ".join(f"{item['field']}: {item['message']}" if item["field"] else item["message"] for item in errors)
    return Problem(ProblemType.INVALID_REQUEST, HTTPStatus.BAD_REQUEST, summary, {"errors": errors})


def _path(item: ErrorDetails) -> str:
    # Tags are no names of fields; but a field that is unknown may have any name.
    unknown = item["type"] == "extra_forbidden"
    fields = [part for part in item["loc"] if unknown or part not in MEMBER_TAGS.values()]
    return ".".join(map(str, fields))[:_MAX_FIELD_CHARACTERS]


def _message(item: ErrorDetails, model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        return f"Unknown field; allowed are {', '.join(model.model_fields)}"
    if item["type"] == "model_type" and not item["loc"]:
        return f"The body must be {_object_of(model)}"
    return item["msg"].removeprefix("Value error, ")


def _object_of(model: type[BaseModel]) -> str:
    needed = [name for name, field in model.model_fields.items() if field.is_required()]
    return f"a JSON object with {', '.join(needed)}"
