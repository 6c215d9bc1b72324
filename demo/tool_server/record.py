"""What the tools were asked, in bounded memory: it shows what ran, and how often."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import Any

MAX_CALLS = 10_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call that began; `traceparent` is its trace, `authorized` whether it brought a credential."""

    tool: str
    arguments: dict[str, object]
    traceparent: str | None
    authorized: bool


@dataclass(slots=True)
class Record:
    """Calls since the start."""

    _counts: Counter[str] = field(default_factory=Counter)
    _calls: deque[Call] = field(default_factory=lambda: deque(maxlen=MAX_CALLS))

    def add(self, call: Call) -> None:
        """Note a call."""
        self._counts[call.tool] += 1
        self._calls.append(call)

    def report(self) -> dict[str, Any]:
        """Everything noted, as `GET /stats` answers it; of very many calls the latest."""
        return {"counts": dict(self._counts), "calls": [asdict(call) for call in self._calls]}
