"""Classification of a provider's answers."""

from __future__ import annotations

import pytest

from agent_runtime.core.faults import (
    Fault,
    FaultKind,
    error_code_of,
    fault_of_media_type,
    fault_of_status,
    retry_after_seconds,
)

NOW = 1_700_000_000.0


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529, 599])
def test_status_that_may_pass_is_tried_again(status):
    assert fault_of_status(status, {}, NOW).kind.retryable


@pytest.mark.parametrize("status", [301, 400, 401, 402, 403, 404, 413, 422])
def test_status_that_will_stay_is_not_tried_again(status):
    assert not fault_of_status(status, {}, NOW).kind.retryable


def test_rate_limit_is_told_from_unavailability():
    assert fault_of_status(429, {}, NOW).kind is FaultKind.RATE_LIMITED
    assert fault_of_status(503, {}, NOW).kind is FaultKind.UNAVAILABLE


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Tue, 99 Nov 2023 22:13:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers, seconds):
    assert retry_after_seconds(headers, NOW) == seconds


def test_fault_reads_as_cause_and_status():
    assert str(Fault(FaultKind.RATE_LIMITED, 429)) == "rate limited (status 429)"
    assert str(Fault(FaultKind.FIRST_TOKEN_TIMEOUT)) == "first token timeout"


def test_fault_names_the_providers_code_beside_the_status():
    assert str(fault_of_status(400, {}, NOW, "context_length_exceeded")) == (
        "refused (status 400, context_length_exceeded)"
    )
    assert str(Fault(FaultKind.UNAVAILABLE, code="overloaded")) == "unavailable (overloaded)"


def test_fault_reads_as_its_cause_where_that_says_more_than_its_kind():
    assert str(Fault(FaultKind.CONNECTION, cause="unknown host")) == "unknown host"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "model_not_found", "type": "invalid_request_error"}, "model_not_found"),
        ({"code": None, "type": "insufficient_quota"}, "insufficient_quota"),
        ({"code": 400, "type": "BadRequestError"}, "BadRequestError"),
        ({"code": "not a word", "type": "server_error"}, "server_error"),
        ({"type": "a" * 64}, "a" * 64),
        ({"type": "a" * 65}, ""),
        ({"code": "line\n", "type": "Bearer sk-1"}, ""),
        ({"code": "", "type": ["x"]}, ""),
        ({"message": "overloaded"}, ""),
        ("overloaded", ""),
        (None, ""),
    ],
)
def test_only_a_plain_word_of_a_providers_error_is_told(error, code):
    assert error_code_of({"error": error}) == code


@pytest.mark.parametrize("document", [None, [], "error", {"detail": {"code": "x"}}])
def test_answer_of_another_shape_has_no_code(document):
    assert error_code_of(document) == ""


@pytest.mark.parametrize(
    ("media_type", "told"), [("text/html", "text/html"), ("what you like", "something else"), ("", "something else")]
)
def test_answer_of_another_media_type_asks_for_the_base_url_and_stays(media_type, told):
    fault = fault_of_media_type(media_type)
    assert str(fault) == f"answered {told}, not an event stream (is baseURL right?)"
    assert not fault.kind.retryable
