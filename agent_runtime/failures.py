"""How each way in which a run fails is told to the caller, and what it counts as."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from agent_api.observations import Outcome
from agent_runtime.agent import IterationsExhausted, LoopDetected, OutputInvalid
from agent_runtime.core.faults import Complaint
from agent_runtime.errors import Problem, ProblemType
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

if TYPE_CHECKING:
    from agent_runtime.guards.blocked import GuardBlocked
    from agent_runtime.limits.admission import Limited
    from agent_runtime.llm.client import ModelError

STORE_RETRY_SECONDS = 5
IN_VAIN = {"x-should-retry": "false"}
"""For what fails again if it is asked again: clients of the OpenAI protocol would try it twice more, and pay for it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A run without an answer: what the caller is told, and what it counts as for the verdict.

    `wait_seconds` is when a run that was not let in may be tried again; None if it is over.
    """

    problem: Problem
    outcome: Outcome
    guard_blocked: bool = False
    wait_seconds: float | None = None

    @property
    def is_outage(self) -> bool:
        """Whether what it lacked is the store, which comes back."""
        return self.problem.type in (ProblemType.LEDGER_UNAVAILABLE, ProblemType.STORE_UNAVAILABLE)


_RUN_FAILURES: dict[type[Exception], tuple[ProblemType, HTTPStatus]] = {
    ModelUnavailable: (ProblemType.MODEL_UNAVAILABLE, HTTPStatus.BAD_GATEWAY),
    DeadlineExceeded: (ProblemType.DEADLINE_EXCEEDED, HTTPStatus.GATEWAY_TIMEOUT),
    StreamBroken: (ProblemType.STREAM_BROKEN, HTTPStatus.BAD_GATEWAY),
    AttemptsExhausted: (ProblemType.ATTEMPTS_EXHAUSTED, HTTPStatus.BAD_GATEWAY),
    IterationsExhausted: (ProblemType.ITERATIONS_EXHAUSTED, HTTPStatus.UNPROCESSABLE_ENTITY),
    LoopDetected: (ProblemType.TOOL_LOOP, HTTPStatus.BAD_GATEWAY),
    OutputInvalid: (ProblemType.OUTPUT_INVALID, HTTPStatus.BAD_GATEWAY),
}


_COMPLAINTS: dict[Complaint, tuple[ProblemType, str]] = {
    Complaint.TOO_LONG: (ProblemType.QUESTION_TOO_LONG, "The question is too long for the model: send less"),
    Complaint.CONTENT: (ProblemType.CONTENT_REFUSED, "The provider refuses what is asked"),
    Complaint.FORM: (ProblemType.FORM_REFUSED, "The provider refuses the tools or the format of the request"),
}


def failure_of(error: Exception, *, callers_form: bool = False) -> Failure | None:
    """What an error of the loop is told as and counts as; None for an error that nobody foresaw.

    `callers_form` says that the caller brought tools or an answer's format of his own.
    """
    if isinstance(error, ModelUnavailable) and (complaint := _complaint_of(error, callers_form=callers_form)):
        type_, sentence = _COMPLAINTS[complaint]
        problem = Problem(type_, HTTPStatus.BAD_REQUEST, f"{sentence} ({error}).", headers=IN_VAIN)
        return Failure(problem, Outcome.EXCLUDED)
    if isinstance(error, BudgetExceeded):
        return _over_budget(error)
    if isinstance(error, LedgerUnavailable):
        return Failure(
            _try_later(ProblemType.LEDGER_UNAVAILABLE, f"No money can be spent now: {error}."), Outcome.EXCLUDED
        )
    known = _RUN_FAILURES.get(type(error))
    if known is None:
        return None
    headers = _headers_of(error) if isinstance(error, ModelUnavailable) else {}
    return Failure(Problem(*known, f"{_sentence(type(error))}: {error}.", headers=headers), Outcome.ERROR)


def _complaint_of(error: ModelUnavailable, *, callers_form: bool) -> Complaint | None:
    """What every model that was asked refuses about the question, as the first one says it."""
    asked = [failure.fault for failure in error.failures if isinstance(failure, EndpointFailed)]
    complaints = [fault.complaint(callers_form=callers_form) for fault in asked]
    return complaints[0] if complaints and all(complaints) else None


def _sentence(kind: type[Exception]) -> str:
    return {ModelUnavailable: "No model answered", DeadlineExceeded: "No answer in time"}.get(kind, "The run ended")


def _over_budget(error: BudgetExceeded) -> Failure:
    """The run's own budget makes it a failed run; a used up day is nobody's error."""
    outcome = Outcome.ERROR if error.scope == "request" else Outcome.EXCLUDED
    members: dict[str, object] = {"scope": error.scope}
    if error.reset_seconds is not None:
        members["reset_seconds"] = math.ceil(error.reset_seconds)
    return Failure(
        Problem(
            ProblemType.BUDGET_EXCEEDED,
            HTTPStatus.TOO_MANY_REQUESTS,
            f"The budget does not allow this run: {error}.",
            members,
            IN_VAIN if error.reset_seconds is None else _retry_after(error.reset_seconds),
        ),
        outcome,
    )


def _headers_of(error: ModelUnavailable) -> dict[str, str]:
    return IN_VAIN if error.failures and all(map(_is_final, error.failures)) else _retry_after(_soonest(error))


def _is_final(failure: ModelError) -> bool:
    """Whether an endpoint will not answer the same question later either: what it needs is a change of the agent."""
    if isinstance(failure, EndpointFailed):
        return not failure.fault.kind.retryable
    return isinstance(failure, EndpointRefused) and failure.retry_after is None


def _soonest(error: ModelUnavailable) -> float | None:
    waits = [f.retry_after for f in error.failures if isinstance(f, EndpointRefused) and f.retry_after is not None]
    return min(waits) if waits and len(waits) == len(error.failures) else None


def failure_of_limit(error: Limited) -> Failure:
    """Failure of a run that came too soon."""
    problem = Problem(
        ProblemType.RATE_LIMITED,
        HTTPStatus.TOO_MANY_REQUESTS,
        f"Too many runs of this {error.scope}: try again in {math.ceil(error.retry_after)} seconds."
        if error.scope != "concurrency"
        else "Too many runs at the same time: try again soon.",
        {"scope": error.scope},
        _retry_after(error.retry_after),
    )
    return Failure(problem, Outcome.EXCLUDED, wait_seconds=error.retry_after)


def failure_of_guard(error: GuardBlocked) -> Failure:
    """Failure of a run that a guard stopped."""
    return Failure(error.problem(), Outcome.EXCLUDED, guard_blocked=True)


def failure_of_store(what: str) -> Failure:
    """Failure of a run that needs what the store keeps, while it is away."""
    return Failure(
        _try_later(ProblemType.STORE_UNAVAILABLE, f"{what} cannot be read now: the store is away."), Outcome.EXCLUDED
    )


def _try_later(type_: ProblemType, detail: str) -> Problem:
    return Problem(type_, HTTPStatus.SERVICE_UNAVAILABLE, detail, headers=_retry_after(STORE_RETRY_SECONDS))


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"retry-after": str(max(1, math.ceil(seconds)))}
