"""How each way in which a run fails is told, and what it counts as."""

from __future__ import annotations

import pytest

from agent_api.observations import Outcome
from agent_runtime.agent import ApprovalNeeded, IterationsExhausted, LoopDetected, OutputInvalid
from agent_runtime.core.faults import Fault, FaultKind
from agent_runtime.core.loop import Message
from agent_runtime.core.progress import Progress
from agent_runtime.failures import failure_of, failure_of_guard, failure_of_limit, failure_of_store
from agent_runtime.guards.blocked import GuardBlocked
from agent_runtime.limits.admission import Limited
from agent_runtime.llm.client import (
    AttemptsExhausted,
    BudgetExceeded,
    DeadlineExceeded,
    EndpointFailed,
    EndpointRefused,
    LedgerUnavailable,
    ModelUnavailable,
    StreamBroken,
)

DOWN = EndpointFailed("gpt-x", Fault(FaultKind.UNAVAILABLE, 500), 3)

FAILURES = [
    (ModelUnavailable((DOWN,)), "model-unavailable", 502, Outcome.ERROR),
    (DeadlineExceeded("late"), "deadline-exceeded", 504, Outcome.ERROR),
    (StreamBroken("gpt-x", Fault(FaultKind.CUT)), "stream-broken", 502, Outcome.ERROR),
    (AttemptsExhausted("all"), "attempts-exhausted", 502, Outcome.ERROR),
    (IterationsExhausted("all"), "iterations-exhausted", 422, Outcome.ERROR),
    (LoopDetected("again"), "tool-loop", 502, Outcome.ERROR),
    (OutputInvalid("no JSON"), "output-invalid", 502, Outcome.ERROR),
    (BudgetExceeded("request", "too much"), "budget-exceeded", 429, Outcome.ERROR),
    (BudgetExceeded("user", "too much", 60.0), "budget-exceeded", 429, Outcome.EXCLUDED),
    (BudgetExceeded("agent", "too much", 60.0), "budget-exceeded", 429, Outcome.EXCLUDED),
    (LedgerUnavailable("away"), "ledger-unavailable", 503, Outcome.EXCLUDED),
]


@pytest.mark.parametrize(("error", "name", "status", "outcome"), FAILURES)
def test_failure_has_its_type_its_status_and_its_outcome(error, name, status, outcome):
    failure = failure_of(error)
    assert (failure.problem.type, failure.problem.status, failure.outcome) == (name, status, outcome)
    assert str(error) in failure.problem.detail
    assert not failure.guard_blocked


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), KeyError("x"), ApprovalNeeded(Progress((Message("user", ""),)), ())]
)
def test_what_nobody_foresaw_is_no_known_failure(error):
    assert failure_of(error) is None


def test_budget_tells_its_scope_and_when_it_begins_anew():
    response = failure_of(BudgetExceeded("agent", "too much", 59.2)).problem.response()
    assert response.headers["retry-after"] == "60"
    members = failure_of(BudgetExceeded("agent", "too much", 59.2)).problem.document()
    assert (members["scope"], members["reset_seconds"]) == ("agent", 60)


@pytest.mark.parametrize(
    ("error", "in_vain"),
    [
        (BudgetExceeded("request", "too much"), True),
        (BudgetExceeded("user", "never fits"), True),
        (BudgetExceeded("user", "too much", 60.0), False),
        (ModelUnavailable((EndpointFailed("gpt-x", Fault(FaultKind.CREDENTIAL, 401)),)), True),
        (ModelUnavailable((EndpointRefused("gpt-x", "its price is not known"),)), True),
        (ModelUnavailable((EndpointFailed("gpt-x", Fault(FaultKind.REFUSED, 400)), DOWN)), False),
        (ModelUnavailable((EndpointRefused("gpt-x", "circuit open", retry_after=3.0),)), False),
        (ModelUnavailable(()), False),
        (DeadlineExceeded("late"), False),
    ],
)
def test_client_is_told_not_to_try_again_what_fails_again(error, in_vain):
    headers = failure_of(error).problem.response().headers
    assert headers.get("x-should-retry") == ("false" if in_vain else None)
    assert not (in_vain and "retry-after" in headers)


def rejects(status, code="", kind=FaultKind.REFUSED):
    return EndpointFailed("gpt-x", Fault(kind, status, code=code))


@pytest.mark.parametrize(
    ("failure", "form", "name"),
    [
        (rejects(400, "context_length_exceeded"), False, "question-too-long"),
        (rejects(400, "exceed_context_size_error"), False, "question-too-long"),
        (rejects(413), False, "question-too-long"),
        (rejects(400, "content_filter"), False, "content-refused"),
        (rejects(422, "content_policy_violation"), True, "content-refused"),
        (rejects(400, "invalid_function_parameters"), True, "form-refused"),
        (rejects(400, "invalid_function_parameters"), False, None),
        (rejects(400), False, None),
        (rejects(404, "context_length_exceeded"), True, None),
        (rejects(401, kind=FaultKind.CREDENTIAL), True, None),
        (rejects(429, "content_filter", FaultKind.RATE_LIMITED), True, None),
    ],
)
def test_what_a_provider_refuses_about_the_question_is_the_callers(failure, form, name):
    found = failure_of(ModelUnavailable((failure,)), callers_form=form)
    if name is None:
        assert (found.problem.type, found.outcome) == ("model-unavailable", Outcome.ERROR)
        return
    assert (found.problem.type, found.problem.status, found.outcome) == (name, 400, Outcome.EXCLUDED)
    assert found.problem.response().headers["x-should-retry"] == "false"
    assert str(failure) in found.problem.detail


def test_a_question_that_one_model_refuses_and_another_cannot_answer_is_an_error():
    too_long = rejects(400, "context_length_exceeded")
    assert failure_of(ModelUnavailable((too_long, DOWN))).outcome is Outcome.ERROR
    skipped = EndpointRefused("gpt-y", "its price is not known")
    assert failure_of(ModelUnavailable((too_long, skipped))).outcome is Outcome.EXCLUDED


def refused(seconds):
    return EndpointRefused("gpt-x", "circuit open", retry_after=seconds)


@pytest.mark.parametrize(
    ("failures", "retry_after"),
    [
        ((refused(30.0), refused(9.1)), "10"),
        ((refused(0.0),), "1"),
        ((refused(30.0), DOWN), None),
        ((refused(30.0), refused(None)), None),
        ((), None),
    ],
)
def test_retry_after_is_told_only_where_every_model_says_when_it_recovers(failures, retry_after):
    response = failure_of(ModelUnavailable(failures)).problem.response()
    assert response.headers.get("retry-after") == retry_after


@pytest.mark.parametrize("scope", ["agent", "user", "concurrency"])
def test_limit_is_told_with_its_scope_and_counts_as_nothing(scope):
    failure = failure_of_limit(Limited(scope, 12.3))
    assert (failure.problem.type, failure.problem.status, failure.outcome) == ("rate-limited", 429, Outcome.EXCLUDED)
    assert failure.problem.document()["scope"] == scope
    assert failure.problem.response().headers["retry-after"] == "13"


def test_guard_block_counts_as_one_and_as_no_error():
    failure = failure_of_guard(GuardBlocked("maxLength", "too long"))
    assert (failure.outcome, failure.guard_blocked, failure.problem.status) == (Outcome.EXCLUDED, True, 400)


def test_store_that_is_away_asks_to_come_again():
    failure = failure_of_store("The conversation")
    assert (failure.problem.type, failure.problem.status, failure.outcome) == (
        "store-unavailable",
        503,
        Outcome.EXCLUDED,
    )
    assert int(failure.problem.response().headers["retry-after"]) >= 1
