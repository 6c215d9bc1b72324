"""Answers of the API server become errors by what the caller can do about them."""

from __future__ import annotations

import json

import pytest

from agent_operator.cluster.errors import (
    ConflictError,
    NamespaceEndingError,
    NotFoundError,
    RefusedError,
    ServerError,
    error_of,
)


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (404, "not found", NotFoundError),
        (409, "conflict", ConflictError),
        (422, "spec.x: Invalid value", RefusedError),
        (403, "forbidden", RefusedError),
        (403, "unable to create new content in namespace a because it is being terminated", NamespaceEndingError),
        (429, "too many requests", ServerError),
        (500, "internal", ServerError),
        (503, "unavailable", ServerError),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(status, message, expected):
    error = error_of(status, json.dumps({"message": message}).encode(), "PATCH /x")
    assert type(error) is expected
    assert str(error) == f"PATCH /x: {message}"


def test_an_answer_that_is_no_json_is_shown_in_part():
    assert str(error_of(502, b"<html>" + b"x" * 1000, "GET /x")).startswith("GET /x: <html>xxx")
