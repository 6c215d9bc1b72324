"""Evidence as a short text that survives an operator restart bit for bit.

Write it together with the counters it was built from: apart they would lose or double requests.
"""

import json
from typing import NoReturn

from agent_operator.core.analysis.betting import FAIL_START, PASS_START
from agent_operator.core.analysis.evidence import RATE_VALUES, Baseline, Block, Differences, Evidence, Tally

VERSION = 2
_LARGEST = 1e15
_FIELDS = {
    "v": "version",
    "f": "fail wealth",
    "p": "pass wealth",
    "k": "pass peak",
    "b": "baseline",
    "q": "pending",
    "t": "totals",
    "s": "step",
    "d": "differences",
    "e": "step differences",
    "r": "recent",
    "h": "history",
}


class EvidenceStateError(ValueError):
    """Stored evidence is damaged or of another version; the analysis has to start anew."""


def to_state(evidence: Evidence) -> str:
    """Compact JSON (under 1.5 KiB for a rate); floats are written with all digits."""
    return json.dumps(
        {
            "v": VERSION,
            "f": evidence.fail_wealth,
            "p": evidence.pass_wealth,
            "k": evidence.pass_peak,
            "b": (evidence.baseline.requests, evidence.baseline.total, evidence.baseline.squares),
            "q": (evidence.pending.stable_counts, evidence.pending.canary_counts),
            "t": _tally_row(evidence.total),
            "s": _tally_row(evidence.step),
            "d": _difference_row(evidence.differences),
            "e": _difference_row(evidence.step_differences),
            "r": (evidence.recent_requests, evidence.recent_total),
            "h": evidence.history_mean,
        },
        separators=(",", ":"),
        allow_nan=False,
    )


def from_state(text: str, values: tuple[float, ...] = RATE_VALUES) -> Evidence:
    """Evidence written by `to_state`; raises EvidenceStateError on anything else, naming what is wrong."""
    raw = _object(text)
    pending = raw["q"]
    if not isinstance(pending, list) or len(pending) != 2:  # noqa: PLR2004 - one row for each revision
        _refuse("pending", "two rows of counts")
    requests, total, squares = _floats(raw, "b", 3)
    if requests <= 0.0 or total < 0.0 or squares < 0.0:
        _refuse("baseline", "positive sums")
    recent_requests, recent_total = _floats(raw, "r", 2)
    return Evidence(
        fail_wealth=_floats(raw, "f", len(FAIL_START)),
        pass_wealth=_floats(raw, "p", len(PASS_START)),
        pass_peak=_number(raw["k"], "pass peak"),
        baseline=Baseline(requests, total, squares),
        pending=Block(_counts(pending[0], len(values)), _counts(pending[1], len(values))),
        total=_tally(raw, "t"),
        step=_tally(raw, "s"),
        differences=_differences(raw, "d"),
        step_differences=_differences(raw, "e"),
        recent_requests=recent_requests,
        recent_total=recent_total,
        history_mean=None if raw["h"] is None else _number(raw["h"], "history"),
    )


def _object(text: str) -> dict[str, object]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise EvidenceStateError("stored evidence is not JSON") from error
    if not isinstance(raw, dict):
        raise EvidenceStateError("stored evidence is not a JSON object")
    if raw.get("v") != VERSION:
        raise EvidenceStateError(f"stored evidence has version {raw.get('v')!r}, this operator reads {VERSION}")
    missing = [name for key, name in _FIELDS.items() if key not in raw]
    if missing:
        raise EvidenceStateError(f"stored evidence lacks {', '.join(missing)}")
    return raw


def _floats(raw: dict[str, object], key: str, size: int) -> tuple[float, ...]:
    name, row = _FIELDS[key], raw[key]
    if not isinstance(row, list) or len(row) != size:
        _refuse(name, f"{size} numbers")
    return tuple(_number(item, name) for item in row)


def _number(item: object, name: str) -> float:
    if isinstance(item, bool) or not isinstance(item, int | float):
        _refuse(name, "finite numbers")
    if not -_LARGEST <= item <= _LARGEST:
        _refuse(name, "finite numbers")
    return float(item)


def _count(item: object, name: str) -> int:
    if isinstance(item, bool) or not isinstance(item, int) or item < 0:
        _refuse(name, "counts of at least 0")
    return item


def _counts(row: object, size: int) -> tuple[int, ...]:
    if not isinstance(row, list) or len(row) != size:
        _refuse("pending", f"{size} counts for each revision")
    return tuple(_count(item, "pending") for item in row)


def _tally(raw: dict[str, object], key: str) -> Tally:
    name, row = _FIELDS[key], raw[key]
    if not isinstance(row, list) or len(row) != 4:  # noqa: PLR2004 - the four fields of a Tally
        _refuse(name, "four numbers")
    tally = Tally(_count(row[0], name), _number(row[1], name), _count(row[2], name), _number(row[3], name))
    if not (0.0 <= tally.stable_total <= tally.stable_requests and 0.0 <= tally.canary_total <= tally.canary_requests):
        _refuse(name, "outcomes in [0, 1]")
    return tally


def _differences(raw: dict[str, object], key: str) -> Differences:
    weighted, weight, variance = _floats(raw, key, 3)
    if weight < 0.0 or variance < 0.0:
        _refuse(_FIELDS[key], "of no negative weight")
    return Differences(weighted, weight, variance)


def _tally_row(tally: Tally) -> tuple[int, float, int, float]:
    return (tally.stable_requests, tally.stable_total, tally.canary_requests, tally.canary_total)


def _difference_row(sums: Differences) -> tuple[float, float, float]:
    return (sums.weighted, sums.weight, sums.variance)


def _refuse(name: str, wanted: str) -> NoReturn:
    raise EvidenceStateError(f"stored evidence: {name} must be {wanted}")
