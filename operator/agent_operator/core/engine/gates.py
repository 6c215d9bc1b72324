"""The rollout engine: one decision a call, each a whole transition that can be lost or repeated without harm.

The order of the gates is the order of their rights: people first, then safety, then progress.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from agent_api.v1alpha1.route import AgentRouteSpec
from agent_operator.core.commands import run_command
from agent_operator.core.engine.course import begin, drained, spec_changed, superseded
from agent_operator.core.engine.first import first_revision
from agent_operator.core.engine.holds import held, paused
from agent_operator.core.engine.looks import until_drained
from agent_operator.core.engine.progress import availability
from agent_operator.core.engine.safety import broken, overspent, verdict
from agent_operator.core.engine.steps import edited, lower, step
from agent_operator.core.engine.upkeep import knobs, lease
from agent_operator.core.facts import Seen, Transition

Gate = Callable[[AgentRouteSpec, Seen, datetime], Transition | None]

GATES: tuple[Gate, ...] = (
    run_command,
    knobs,
    spec_changed,
    first_revision,
    superseded,
    drained,
    begin,
    broken,
    overspent,
    lease,
    verdict,
    edited,
    lower,
    availability,
    paused,
    held,
    step,
)


def advance(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition:
    """Decide the next transition; a transition with an unchanged route says what is waited for.

    Call again at once after every change of the route, and after `look_again` seconds otherwise.
    """
    for gate in GATES:
        transition = gate(route, seen, now)
        if transition is not None:
            return transition
    return Transition(route, look_again=until_drained(route, now))
