"""The lease on a canary's weight: without a sign of the operator, new conversations go to stable.

Only this process's monotonic clock counts, so that no clock of another machine matters.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agent_gateway.watching.routes import Route


@dataclass(frozen=True, slots=True)
class _Bump:
    uid: str
    counter: int
    leased: bool
    at: float


@dataclass(slots=True)
class LeaseClock:
    """Remembers when each agent's lease counter last changed, in seconds of a monotonic clock."""

    duration: float
    _bumps: dict[str, _Bump] = field(default_factory=dict)

    def observe(self, route: Route, now: float) -> None:
        """Note the state of a route; a change of uid or counter, or a canary that begins to serve, renews the lease."""
        last = self._bumps.get(route.name)
        fresh = _Bump(route.uid, route.spec.lease.counter, route.leased, now)
        if last is None or (last.uid, last.counter, last.leased) != (fresh.uid, fresh.counter, fresh.leased):
            self._bumps[route.name] = fresh

    def forget(self, name: str) -> None:
        """Drop an agent that is gone."""
        self._bumps.pop(name, None)

    def expired(self, now: float) -> frozenset[str]:
        """Agents with a canary whose lease ran out."""
        return frozenset(name for name, b in self._bumps.items() if b.leased and now - b.at >= self.duration)

    def next_expiry(self, now: float) -> float | None:
        """Moment at which the next lease runs out, or None if none can."""
        ends = [b.at + self.duration for b in self._bumps.values() if b.leased]
        return min((end for end in ends if end > now), default=None)
