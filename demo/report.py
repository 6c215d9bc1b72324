"""The report of a demo, computed from what clients noted and what the status said. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from demo.traffic.records import Fault, Record

SERVER_ERROR = 500
OK = "ok"
ERROR = "error"
MIN_TURNS = 5
TOOL_FAILURES = frozenset(("failed", "timeout", "unavailable"))
TOOL_REFUSALS = frozenset(("denied", "unknown_tool", "invalid_arguments"))
_MAX_DETAILS = 20

MustFail = Callable[[str, str], bool]
"""Whether the model must fail a request: revision, request id."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release as it ended: `outcome` is Healthy, Promoted or RolledBack."""

    revision: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class WeightChange:
    """New weights, in force on every gateway at `time` (Unix seconds)."""

    time: float
    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Story:
    """What the status said while the traffic ran."""

    releases: tuple[Release, ...]
    changes: tuple[WeightChange, ...]
    bad_revision: str
    verdict_time: float


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise, the figure that shows it, and whether it is kept."""

    name: str
    value: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether the figure keeps the promise."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{self.name} is {self.value:g}, must be {sign} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Limits:
    """Least sizes of a run that proves anything."""

    requests: int = 5000
    conversations_through_change: int = 300
    seconds_to_zero: float = 1.0
    tool_calls: int = 300
    spent_usd: float = 0.0001


def make_report(records: Sequence[Record], story: Story, must_fail: MustFail) -> dict[str, Any]:
    """Compute the report, as `build/demo/report.json` has it."""
    conversations = by_conversation(records)
    bad = [record for record in records if record.revision == story.bad_revision]
    since_verdict = [record.start - story.verdict_time for record in bad]
    answered_since = [record.end - story.verdict_time for record in bad]
    latencies = sorted(record.end - record.start for record in records if record.outcome == OK)
    tools = [outcome for record in records for outcome in record.tools.split()]
    return {
        "requests": len(records),
        "failedByRollout": sum(failed_by_rollout(record) for record in records),
        "failedByModel": sum(failed_by_model(record) for record in records),
        "unexplained": sum(unexplained(record, must_fail) for record in records),
        "conversations": len(conversations),
        "conversationsThroughWeightChange": sum(
            lived_through(turns, story.changes) for turns in conversations.values()
        ),
        "conversationsSplit": sum(is_split(turns, story) for turns in conversations.values()),
        "badRevision": story.bad_revision,
        "badAnswers": len(bad),
        "secondsToZero": round(max(0.0, *since_verdict), 3) if bad else 0.0,
        "lastBadAnswerSeconds": round(max(0.0, *answered_since), 3) if bad else 0.0,
        "toolCalls": len(tools),
        "toolFailures": sum(outcome in TOOL_FAILURES for outcome in tools),
        "toolRefusals": sum(outcome in TOOL_REFUSALS for outcome in tools),
        **_money(records),
        "releases": [
            {"revision": release.revision, "outcome": release.outcome, "seconds": round(release.seconds, 1)}
            for release in story.releases
        ],
        "requestsByRevision": _count(record.revision or "(none)" for record in records),
        "faults": _count(record.fault.value for record in records if record.fault is not Fault.NONE),
        "faultDetails": dict(list(_count(record.detail for record in records if record.detail).items())[:_MAX_DETAILS]),
        "latencyMs": {"p50": _milliseconds(latencies, 0.5), "p99": _milliseconds(latencies, 0.99)},
        "requestsPerSecond": _rate(records),
    }


def bars(report: Mapping[str, Any], limits: Limits) -> tuple[Bar, ...]:
    """Promises that a report must keep."""
    through = "conversationsThroughWeightChange"
    return (
        Bar("requests", report["requests"], limits.requests, at_least=True),
        Bar("failedByRollout", report["failedByRollout"], 0, at_least=False),
        Bar("unexplained", report["unexplained"], 0, at_least=False),
        Bar("conversationsSplit", report["conversationsSplit"], 0, at_least=False),
        Bar(through, report[through], limits.conversations_through_change, at_least=True),
        Bar("badAnswers", report["badAnswers"], 1, at_least=True),
        Bar("secondsToZero", report["secondsToZero"], limits.seconds_to_zero, at_least=False),
        Bar("toolCalls", report["toolCalls"], limits.tool_calls, at_least=True),
        Bar("spentUSD", report["spentUSD"], limits.spent_usd, at_least=True),
        Bar("uncountedUSD", report["uncountedUSD"], 0, at_least=False),
    )


def _money(records: Sequence[Record]) -> dict[str, float]:
    """What the ledger said last, and how far it was below the answers that had been paid for by then."""
    last = max((record for record in records if record.spent_usd), key=lambda record: record.end, default=None)
    costs = [record for record in records if record.cost_usd]
    uncounted = Decimal(0)
    if last is not None:
        paid = [record for record in costs if record.day == last.day and record.end <= last.start]
        uncounted = max(uncounted, _sum(paid) - Decimal(last.spent_usd))
    return {
        "spentUSD": 0.0 if last is None else float(last.spent_usd),
        "costOfAnswersUSD": float(_sum(costs)),
        "uncountedUSD": float(uncounted),
    }


def _sum(records: Iterable[Record]) -> Decimal:
    return sum((Decimal(record.cost_usd) for record in records), Decimal(0))


def by_conversation(records: Iterable[Record]) -> dict[int, list[Record]]:
    """Turns of each conversation, in order."""
    conversations: defaultdict[int, list[Record]] = defaultdict(list)
    for record in records:
        conversations[record.conversation].append(record)
    return {number: sorted(turns, key=lambda record: record.turn) for number, turns in conversations.items()}


def failed_by_rollout(record: Record) -> bool:
    """Whether nobody but the system is to blame: no answer, half an answer, or an error that no runtime gave."""
    return record.fault is not Fault.NONE or (record.status >= SERVER_ERROR and not record.outcome)


def failed_by_model(record: Record) -> bool:
    """Whether the runtime answered that no model did."""
    return record.fault is Fault.NONE and record.outcome == ERROR


def unexplained(record: Record, must_fail: MustFail) -> bool:
    """Whether a whole answer is another than the models' choice demands, or contradicts itself."""
    if failed_by_rollout(record):
        return False
    if record.body_revision not in {"", record.revision}:
        return True
    expected = ERROR if must_fail(record.revision, record.request_id) else OK
    is_success = record.status == 200  # noqa: PLR2004 - HTTP's OK
    return record.outcome != expected or is_success != (expected == OK)


def lived_through(turns: Sequence[Record], changes: Iterable[WeightChange]) -> bool:
    """Whether a whole conversation of five turns and more began before and ended after a change of weight."""
    if len(turns) < MIN_TURNS or len(turns) < turns[0].turns:
        return False
    return any(turns[0].end < change.time < turns[-1].start for change in changes)


def is_split(turns: Sequence[Record], story: Story) -> bool:
    """Whether a conversation changed its revision, but for leaving the one that was taken back."""
    answered = [record for record in turns if record.revision]
    return any(_strayed(before, after, story) for before, after in pairwise(answered))


def _strayed(before: Record, after: Record, story: Story) -> bool:
    if before.revision == after.revision:
        # Pinned and answered by its revision, yet under another id: the pin was not honoured.
        return bool(after.sent_id) and after.sent_id != after.received_id
    by_rollback = before.revision == story.bad_revision and after.end >= story.verdict_time
    return not by_rollback


def percentile(values: Sequence[float], share: float) -> float:
    """Smallest of the sorted values that is not below `share` of them; 0 if there are none."""
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else 0.0


def _milliseconds(latencies: Sequence[float], share: float) -> float:
    return round(percentile(latencies, share) * 1000, 1)


def _rate(records: Sequence[Record]) -> float:
    if not records:
        return 0.0
    span = max(record.end for record in records) - min(record.start for record in records)
    return round(len(records) / span, 1) if span > 0 else 0.0


def _count(names: Iterable[str]) -> dict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for name in names:
        counts[name] += 1
    return dict(sorted(counts.items()))


def table(report: Mapping[str, Any], limits: Limits) -> list[str]:
    """Closing lines for a person."""
    lines = [f"  {'release':24} {'outcome':12} {'seconds':>8}"]
    lines += [f"  {r['revision']:24} {r['outcome']:12} {r['seconds']:8.1f}" for r in report["releases"]]
    lines += ["", f"  {'figure':34} {'value':>8}   bar"]
    known = {bar.name: bar for bar in bars(report, limits)}
    for name in _SHOWN:
        bar = known.get(name)
        promise = f"{'>=' if bar.at_least else '<='} {bar.limit:g}  {'ok' if bar.met else 'MISSED'}" if bar else ""
        lines.append(f"  {name:34} {report[name]:8g}   {promise}".rstrip())
    latency = report["latencyMs"]
    lines.append(f"  {'latency p50 / p99 (ms)':34} {latency['p50']:g} / {latency['p99']:g}")
    return lines


_SHOWN = (
    "requests",
    "requestsPerSecond",
    "failedByRollout",
    "failedByModel",
    "unexplained",
    "conversations",
    "conversationsThroughWeightChange",
    "conversationsSplit",
    "badAnswers",
    "secondsToZero",
    "lastBadAnswerSeconds",
    "toolCalls",
    "toolFailures",
    "toolRefusals",
    "spentUSD",
    "uncountedUSD",
)
