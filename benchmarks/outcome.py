"""What a benchmark found out. Pure, but for reading and writing its file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.report import percentile


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that must not be above its limit."""

    value: float
    limit: float

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        return self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Run:
    """Where and when a benchmark ran."""

    commit: str
    machine: str
    date: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures and bars of one benchmark."""

    name: str
    figures: Mapping[str, float]
    bars: Mapping[str, Bar]

    @property
    def met(self) -> bool:
        """Whether every bar is met."""
        return all(bar.met for bar in self.bars.values())


def spread(name: str, seconds: Iterable[float]) -> dict[str, float]:
    """Figures p50, p95 and maximum of durations, in milliseconds."""
    values = sorted(seconds)
    shares = {"P50": 0.5, "P95": 0.95, "Max": 1.0}
    return {f"{name}{label}Ms": round(percentile(values, share) * 1000, 3) for label, share in shares.items()}


def write_outcome(folder: Path, outcome: Outcome, run: Run) -> Path:
    """Write NAME.json."""
    bars = {name: {"value": bar.value, "limit": bar.limit, "ok": bar.met} for name, bar in outcome.bars.items()}
    document = {
        "name": outcome.name,
        "figures": dict(outcome.figures),
        "bars": bars,
        "run": {"commit": run.commit, "machine": run.machine, "date": run.date},
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = outcome_path(folder, outcome.name)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path


def outcome_path(folder: Path, name: str) -> Path:
    """Where the outcome of a benchmark is written."""
    return folder / f"{name}.json"


def read_outcomes(folder: Path, names: Iterable[str]) -> tuple[Mapping[str, Any], ...]:
    """Documents of the named benchmarks, in that order; those that never ran are left out."""
    paths = [outcome_path(folder, name) for name in names]
    return tuple(json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists())
