"""What is noted of one run, whatever becomes of it: the booking for the verdict, metrics, and one log line."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from agent_api.observations import Outcome, conversation_hash
from agent_runtime.core.booking import RunFacts
from agent_runtime.core.conversations import unit_of

if TYPE_CHECKING:
    from agent_runtime.agent import Answer
    from agent_runtime.clock import SteadyClock
    from agent_runtime.core.booking import Ledger
    from agent_runtime.core.conversations import Turn
    from agent_runtime.failures import Failure
    from agent_runtime.llm.client import Run
    from agent_runtime.telemetry.metrics import RuntimeMetrics

UNANSWERED = "unanswered"
CUT_OFF = "cut-off"
WAITING = "waiting-for-approval"
HANDED_BACK = "handed-back"
CLIENT_GONE = "client-gone"
ABANDONED = "abandoned"
ABANDONED_SECONDS = 10.0
"""Who leaves after so long without a first byte was failed by the agent; who leaves sooner changed his mind."""
_log = structlog.get_logger("agent_runtime.run")


@dataclass(slots=True)
class RunRecord:
    """Facts of one run, gathered while it runs.

    `reason` is `answered`, a problem's type, or another word for how it ended; a run that nobody ended was cut off by
    the end of the process: an error, like any that brings no answer. `user` is a hash.
    """

    turn: Turn
    ticket: int
    begun: float
    outcome: Outcome = Outcome.ERROR
    reason: str = CUT_OFF
    user: str = ""
    trace_id: str = ""
    run: Run | None = None
    answer: Answer | None = None
    age_seconds: float | None = None
    guard_blocked: bool = False
    tool_calls: int = 0
    tool_failures: int = 0
    left: bool = False

    def answered(self, answer: Answer, age_seconds: float | None = None) -> None:
        """Note an answer; one from memory has an age."""
        self.outcome, self.reason, self.answer, self.age_seconds = Outcome.OK, "answered", answer, age_seconds

    @property
    def cached(self) -> bool:
        """Whether the answer came from memory."""
        return self.age_seconds is not None

    def failed(self, failure: Failure) -> None:
        """Note a failure."""
        self.outcome, self.reason = failure.outcome, failure.problem.type
        self.guard_blocked = failure.guard_blocked

    def ended(self, outcome: Outcome, reason: str) -> None:
        """Note another end."""
        self.outcome, self.reason = outcome, reason

    def client_left(self, seconds: float, *, opened: bool) -> None:
        """Note that the client went away after so many seconds: a failure if he had long waited for nothing."""
        self.left = True
        abandoned = not opened and seconds >= ABANDONED_SECONDS
        self.ended(Outcome.ERROR if abandoned else Outcome.EXCLUDED, ABANDONED if abandoned else CLIENT_GONE)

    def waits(self) -> None:
        """Note that calls of tools wait for a person: the run goes on later, as another one."""
        self.ended(Outcome.EXCLUDED, WAITING)

    def handed_back(self) -> None:
        """Note that another pod goes on with the task."""
        self.ended(Outcome.EXCLUDED, HANDED_BACK)

    @property
    def facts(self) -> RunFacts:
        """What the verdict counts beside the outcome."""
        run = self.run
        return RunFacts(
            cost_micro=0 if run is None else run.spent_micro,
            tokens=0 if run is None else run.input_tokens + run.output_tokens,
            cache_hit=self.cached,
            tool_calls=self.tool_calls,
            tool_failures=self.tool_failures,
            fell_back=run is not None and run.fell_back,
            guard_blocked=self.guard_blocked,
            left=self.left,
        )


class RunBook:
    """Begins and ends records of runs."""

    def __init__(self, ledger: Ledger, clock: SteadyClock, metrics: RuntimeMetrics, revision: str) -> None:
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics
        self._revision = revision

    def begin(self, turn: Turn) -> RunRecord:
        """Note that a run starts, before its body is read."""
        return RunRecord(turn, self._ledger.begin(self._clock.now()), asyncio.get_running_loop().time())

    def identify(self, record: RunRecord, turn: Turn, user: str | None) -> None:
        """Say whose turn it is, once that is known: a run nobody identified counts as nothing.

        `user` is who the gateway told apart, None if nobody.
        """
        record.turn = replace(turn, unit=unit_of(turn.conversation, user))
        self._ledger.identify(record.ticket, record.turn)

    def opened(self, record: RunRecord) -> None:
        """Note that the client was shown something."""
        self._ledger.opened(record.ticket)

    def end(self, record: RunRecord) -> None:
        """Book a run, count it, and write its line."""
        self._ledger.end(record.ticket, record.outcome, self._clock.now(), record.facts)
        seconds = asyncio.get_running_loop().time() - record.begun
        problem = "" if record.outcome is Outcome.OK else record.reason
        counts = record.outcome is not Outcome.EXCLUDED
        self._metrics.run_ended(record.outcome, seconds, counts=counts, problem=problem)
        run, answer = record.run, record.answer
        if run is not None and run.spent_micro > run.answered_micro:
            self._metrics.charged(UNANSWERED, run.spent_micro - run.answered_micro)
        _log.info(
            "run",
            user=record.user,
            trace_id=record.trace_id,
            conversation=conversation_hash(str(record.turn.conversation)),
            revision=self._revision,
            outcome=record.outcome,
            reason=record.reason,
            model=None if answer is None else answer.model,
            attempts=0 if run is None else run.attempts,
            tokens=None if run is None else run.input_tokens + run.output_tokens,
            cost_micro=None if run is None or run.unpriced else run.spent_micro,
            tool_calls=record.tool_calls,
            cached=record.cached,
            latency_ms=round(seconds * 1000, 1),
        )
