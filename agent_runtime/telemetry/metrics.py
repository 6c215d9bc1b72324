"""Prometheus metrics of the process, in a registry of their own; labels take bounded values only.

Every method takes plain values, so that the layers which are given one as a hook know nothing of Prometheus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from agent_runtime.telemetry.labels import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from agent_api.observations import Outcome
    from agent_runtime.llm.client import ModelAnswer
    from agent_runtime.llm.retry import AttemptEnded

RUN_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
CALL_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Bounds for one call to a model or a tool, in seconds, as the GenAI conventions recommend."""

BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}
_MICRO = 1_000_000
_MAX_KINDS = 64


class RuntimeMetrics:
    """Counts what runs, their model calls and their tool calls come to; `models` are those of the document."""

    def __init__(self, revision: str, in_flight: Callable[[], int], models: Iterable[str] = ()) -> None:
        self._revision = revision
        self._registry = CollectorRegistry()
        self._models = Vocabulary(models, is_open=True)
        self._tools = Vocabulary()
        self._kinds = Vocabulary(is_open=True, limit=_MAX_KINDS)
        self._count_runs(in_flight)
        self._count_model_calls()
        self._count_tools_and_guards()
        self._count_limits()
        self._show_process()

    def _count_runs(self, in_flight: Callable[[], int]) -> None:
        self._requests = self._counter("agent_requests", "Runs by outcome.", "outcome")
        self._problems = self._counter("agent_problems", "Runs without an answer by type of problem.", "type")
        self._run_seconds = self._histogram("agent_run_seconds", "Length of runs that count.", buckets=RUN_BUCKETS)
        self._run_seconds.labels(self._revision)
        running = self._gauge("agent_runs_in_flight", "Runs that have begun and not ended.")
        running.labels(self._revision).set_function(in_flight)
        self._cache = self._counter("agent_cache_lookups", "Questions looked up in memory by result.", "result")

    def _count_model_calls(self) -> None:
        self._attempts = self._counter("model_attempts", "Calls to a model endpoint by result.", "model", "result")
        self._retries = self._counter("model_retries", "Calls that were tried again.", "model")
        self._fallbacks = self._counter("model_fallbacks", "Times a model was given up for the next.", "model", "to")
        self._breakers = self._gauge("model_breaker_state", "0 closed, 1 half open, 2 open.", "model")
        self._call_seconds = self._histogram("model_call_seconds", "Length of calls to a model endpoint.", "model")
        self._first_token = self._histogram("model_first_token_seconds", "Wait for the first token.", "model")
        self._tokens = self._counter("tokens", "Tokens as providers report them.", "model", "direction")
        self._cached_tokens = self._counter("cached_tokens", "Input tokens that providers had in memory.", "model")
        self._cost = self._counter("agent_cost_usd", "Dollars that calls cost.", "model")

    def _count_tools_and_guards(self) -> None:
        self._tool_calls = self._counter("tool_calls", "Calls of tools by outcome.", "tool", "outcome")
        self._tool_seconds = self._histogram("tool_call_seconds", "Length of calls of tools that ran.", "tool")
        self._blocks = self._counter("guard_blocks", "Questions and answers that a guard withheld.", "side", "rule")
        self._redactions = self._counter("redactions", "Secrets blotted out by kind.", "kind")

    def _count_limits(self) -> None:
        self._budget_refusals = self._counter("budget_refusals", "Calls that did not fit into a budget.", "scope")
        self._rate_refusals = self._counter("rate_limit_refusals", "Runs refused by a rate limit.", "scope")
        self._spent = self._gauge("budget_spent_usd", "Dollars spent and held today.")
        self._limit = self._gauge("budget_limit_usd", "Dollars that may be spent in a day.")
        self._remaining = self._gauge("budget_remaining_usd", "Dollars left today.")
        self._task_states = self._gauge("agent_tasks", "Tasks by state.", "state")
        self._queued = self._gauge("agent_task_queue_length", "Tasks that wait for a pod.")
        self._store = self._gauge("store_reachable", "1 if the store answered last, else 0.")

    def _show_process(self) -> None:
        self._lag = self._gauge("event_loop_lag_seconds", "Worst lateness of the event loop lately.")
        self._resident = self._gauge("process_resident_memory_bytes", "Memory of the process.")

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, ["revision", *labels], registry=self._registry)

    def _gauge(self, name: str, documentation: str, *labels: str) -> Gauge:
        return Gauge(name, documentation, ["revision", *labels], registry=self._registry)

    def _histogram(
        self, name: str, documentation: str, *labels: str, buckets: tuple[float, ...] = CALL_BUCKETS
    ) -> Histogram:
        return Histogram(name, documentation, ["revision", *labels], buckets=buckets, registry=self._registry)

    def run_ended(self, outcome: Outcome, seconds: float, *, counts: bool, problem: str = "") -> None:
        """Note a run; `counts` is false for those that the verdict leaves out, `problem` is empty if it answered."""
        self._requests.labels(self._revision, outcome).inc()
        if problem:
            self._problems.labels(self._revision, self._kinds.value(problem)).inc()
        if counts:
            self._run_seconds.labels(self._revision).observe(seconds)

    def cache_looked_up(self, result: str) -> None:
        """Note a lookup in the cache of answers: hit, miss, or shared with an identical run."""
        self._cache.labels(self._revision, self._kinds.value(result)).inc()

    def answered(self, answer: ModelAnswer) -> None:
        """Note the tokens and the cost of an answer; cached tokens are a part of the input."""
        model = self._models.value(answer.model)
        if answer.usage is not None:
            self._tokens.labels(self._revision, model, "input").inc(answer.usage.input_tokens)
            self._tokens.labels(self._revision, model, "output").inc(answer.usage.output_tokens)
            self._cached_tokens.labels(self._revision, model).inc(answer.usage.cached_tokens)
        if answer.cost_micro is not None:
            self._cost.labels(self._revision, model).inc(answer.cost_micro / _MICRO)

    def charged(self, model: str, cost_micro: int) -> None:
        """Note money for a call that brought no answer, such as a stream that was cut."""
        self._cost.labels(self._revision, self._models.value(model)).inc(cost_micro / _MICRO)

    def attempt_ended(self, attempt: AttemptEnded) -> None:
        """Note one call to an endpoint."""
        self._attempts.labels(self._revision, self._models.value(attempt.model), attempt.result).inc()

    def call_ended(self, model: str, seconds: float) -> None:
        """Note how long one call to an endpoint took, however it ended."""
        self._call_seconds.labels(self._revision, self._models.value(model)).observe(seconds)

    def first_token(self, model: str, seconds: float) -> None:
        """Note how long a caller waited for the first token."""
        self._first_token.labels(self._revision, self._models.value(model)).observe(seconds)

    def retried(self, model: str) -> None:
        """Note that a call is tried again."""
        self._retries.labels(self._revision, self._models.value(model)).inc()

    def fell_back(self, model: str, to: str = "") -> None:
        """Note that a model was given up for the next one."""
        next_model = self._models.value(to) if to else ""
        self._fallbacks.labels(self._revision, self._models.value(model), next_model).inc()

    def breaker_changed(self, model: str, state: str) -> None:
        """Show the state of a model's breaker, one of BREAKER_STATES."""
        self._breakers.labels(self._revision, self._models.value(model)).set(BREAKER_STATES[state])

    def know_tools(self, names: Iterable[str]) -> None:
        """Say which tools exist: calls of any other are counted as one."""
        self._tools.learn(names)

    def tool_ended(self, name: str, outcome: str, seconds: float) -> None:
        """Note a call of a tool; `seconds` is 0 for one that did not run."""
        tool = self._tools.value(name)
        self._tool_calls.labels(self._revision, tool, self._kinds.value(outcome)).inc()
        if seconds > 0:
            self._tool_seconds.labels(self._revision, tool).observe(seconds)

    def guard_blocked(self, side: str, rule: str) -> None:
        """Note that the guard of the `side` (input, output) withheld something by a kind of rule."""
        self._blocks.labels(self._revision, self._kinds.value(side), self._kinds.value(rule)).inc()

    def redacted(self, kind: str, count: int = 1) -> None:
        """Note that secrets of a kind were blotted out."""
        self._redactions.labels(self._revision, self._kinds.value(kind)).inc(count)

    def budget_refused(self, scope: str) -> None:
        """Note a call whose worst case did not fit into the budget of a scope (request, user, agent)."""
        self._budget_refusals.labels(self._revision, self._kinds.value(scope)).inc()

    def rate_limited(self, scope: str) -> None:
        """Note a run that a limit of a scope (agent, user, concurrency) refused."""
        self._rate_refusals.labels(self._revision, self._kinds.value(scope)).inc()

    def spend_seen(self, spent_micro: int, limit_micro: int | None) -> None:
        """Show the day's ledger in micro-dollars; without a limit nothing is shown of it."""
        self._spent.labels(self._revision).set(spent_micro / _MICRO)
        if limit_micro is None:
            self._limit.clear()
            self._remaining.clear()
            return
        self._limit.labels(self._revision).set(limit_micro / _MICRO)
        self._remaining.labels(self._revision).set(max(0, limit_micro - spent_micro) / _MICRO)

    def tasks_seen(self, states: Mapping[str, int], queued: int) -> None:
        """Show how many tasks are in each state, and how many wait."""
        self._task_states.clear()
        for state, count in states.items():
            self._task_states.labels(self._revision, self._kinds.value(state)).set(count)
        self._queued.labels(self._revision).set(queued)

    def store_seen(self, reachable: bool, /) -> None:  # noqa: FBT001 - a hook with one value
        """Show whether the store answered last."""
        self._store.labels(self._revision).set(reachable)

    def process_seen(self, lag_seconds: float, resident_bytes: int) -> None:
        """Show the lag of the event loop and the memory of the process."""
        self._lag.labels(self._revision).set(lag_seconds)
        self._resident.labels(self._revision).set(resident_bytes)

    def render(self) -> bytes:
        """Text exposition."""
        return generate_latest(self._registry)
