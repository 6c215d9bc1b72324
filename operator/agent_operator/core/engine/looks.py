"""When to look again, in seconds."""

from __future__ import annotations

from datetime import datetime

from agent_api.v1alpha1.route import ALL_TRAFFIC, AgentRouteSpec
from agent_operator.core import routing

LOOK_AT_ANALYSIS = 1.0
LOOK_AT_LEASE = 5.0
LOOK_AT_HOLD = 30.0


def until_drained(route: AgentRouteSpec, now: datetime) -> float | None:
    """Seconds until the next old revision has drained; None: none drains."""
    moments = [drain.until for drain in route.rollout.draining]
    return max(0.0, (min(moments) - now).total_seconds()) if moments else None


def analysis_look(route: AgentRouteSpec) -> float:
    """Seconds between looks at a canary: often while it is being compared."""
    return LOOK_AT_ANALYSIS if 0 < routing.canary_weight(route) < ALL_TRAFFIC else LOOK_AT_LEASE
