"""Verbs: what people ask of a rollout, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from agent_api.v1alpha1.rollout import Step
from agent_api.v1alpha1.route import AgentRouteSpec, Rejection, Role
from agent_api.v1alpha1.status import CommandResult, ObservedCommand
from agent_operator.core import judging, routing
from agent_operator.core.facts import Command, Note, Seen, Transition

_COMMAND = re.compile(r"^(?P<verb>[a-z][a-z-]{0,31})@(?P<id>[A-Za-z0-9._-]{1,64})$")
MAX_SHOWN = 64


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a verb made of the route."""

    route: AgentRouteSpec
    result: CommandResult
    message: str


def parse_command(annotation: str | None) -> Command | None:
    """Verb and id of the annotation; of one that is neither, a verb that nobody knows, so that it is answered."""
    if not annotation:
        return None
    match = _COMMAND.match(annotation)
    if match is None:
        return Command(verb="", id=annotation[:MAX_SHOWN])
    return Command(verb=match["verb"], id=match["id"])


def ignore_first(route: AgentRouteSpec, command: Command | None) -> AgentRouteSpec:
    """Mark a command that was already there when the agent was first seen: it is not run."""
    if command is None:
        return route
    message = "the command was already there when the agent was first seen; type it again if it is meant"
    return _observed(_Answer(route, CommandResult.IGNORED, message), command)


def run_command(route: AgentRouteSpec, seen: Seen, now: datetime) -> Transition | None:
    """Run a command that was not answered yet; None if there is none."""
    command = seen.command
    observed = route.rollout.command
    if command is None or (observed is not None and (observed.id, observed.verb) == (command.id, command.verb)):
        return None
    verb = _VERBS.get(command.verb, _unknown)
    answer = verb(route, seen, now)
    note = Note(
        warning=answer.result is CommandResult.REFUSED,
        reason=f"Command{answer.result.value}",
        message=f"{command.verb or command.id}: {answer.message}",
    )
    return Transition(_observed(answer, command), notes=(note,), look_again=0)


def _observed(answer: _Answer, command: Command) -> AgentRouteSpec:
    record = ObservedCommand(id=command.id, verb=command.verb, result=answer.result, message=answer.message)
    return routing.edit_ledger(answer.route, command=record)


def _done(route: AgentRouteSpec, message: str) -> _Answer:
    return _Answer(route, CommandResult.DONE, message)


def _refused(route: AgentRouteSpec, message: str) -> _Answer:
    return _Answer(route, CommandResult.REFUSED, message)


def _unknown(route: AgentRouteSpec, _seen: Seen, _now: datetime) -> _Answer:
    verbs = ", ".join(sorted(_VERBS))
    return _refused(route, f"not a command; write <verb>@<id>, where the verb is one of {verbs}")


def _promote(route: AgentRouteSpec, seen: Seen, now: datetime) -> _Answer:
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        return _refused(route, "nothing is being rolled out")
    if _is_held(route):
        return _let_go_on(route, canary)
    steps = seen.rollout.canary.steps
    index = route.rollout.step_index
    if index >= len(steps) or not _waits_for_promote(route, steps[index]):
        return _refused(
            route, f"step {index + 1}/{len(steps)} does not wait for a promotion; promote-full skips what remains"
        )
    return _done(
        routing.next_step(route, judging.renew(route.rollout.analysis, now), now),
        f"step {index + 1}/{len(steps)} of {canary} is passed",
    )


def _is_held(route: AgentRouteSpec) -> bool:
    """Whether the canary is kept at weight 0 for its spend, and nobody let it go on."""
    hold = route.rollout.budget_hold
    return hold is not None and hold.held and not hold.released


def _let_go_on(route: AgentRouteSpec, canary: str) -> _Answer:
    return _done(routing.release_hold(route), f"{canary} goes on, though its share of the budget is spent")


def _waits_for_promote(route: AgentRouteSpec, step: Step) -> bool:
    analysis = route.rollout.analysis
    held_by_analysis = step.analyze is not None and analysis is not None and analysis.inconclusive
    return step.pause is not None or held_by_analysis


def _promote_full(route: AgentRouteSpec, _seen: Seen, _now: datetime) -> _Answer:
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        return _refused(route, "nothing is being rolled out")
    return _done(
        routing.edit_ledger(route, promote_full=True), f"{canary} is promoted as soon as its pods are available"
    )


def _abort(route: AgentRouteSpec, _seen: Seen, now: datetime) -> _Answer:
    canary = routing.name_of(route, Role.CANARY)
    if canary is None:
        return _refused(route, "nothing is being rolled out; undo goes back to the revision before")
    rejection = Rejection(revision=canary, reason="Aborted", message="aborted by command", time=now)
    return _done(
        routing.withdraw(route, rejection), f"{canary} is taken back; it is not tried again until the spec changes"
    )


def _retry(route: AgentRouteSpec, seen: Seen, _now: datetime) -> _Answer:
    canary = routing.name_of(route, Role.CANARY)
    if canary is not None and _is_held(route):
        return _let_go_on(route, canary)
    if route.rollout.rejected is None:
        return _refused(route, "no revision was taken back")
    return _done(routing.edit_ledger(route, rejected=None, undo_to=None), f"{seen.target} is rolled out again")


def _undo(route: AgentRouteSpec, seen: Seen, now: datetime) -> _Answer:
    if routing.name_of(route, Role.CANARY) is not None:
        return _refused(route, "a rollout is under way; abort takes it back")
    rejected = route.rollout.rejected
    unwanted = {routing.name_of(route, Role.STABLE), None if rejected is None else rejected.revision}
    previous = next((name for name in route.rollout.history if name not in unwanted and name in seen.recorded), None)
    if previous is None:
        return _refused(route, "there is no revision before the present one")
    rejection = Rejection(revision=seen.target, reason="Undone", message=f"undone to {previous} by command", time=now)
    changed = routing.edit_ledger(route, rejected=rejection, last_rollback=rejection, undo_to=previous)
    return _done(changed, f"going back to {previous}; the spec still asks for {seen.target}")


_VERBS: dict[str, Callable[[AgentRouteSpec, Seen, datetime], _Answer]] = {
    "abort": _abort,
    "promote": _promote,
    "promote-full": _promote_full,
    "retry": _retry,
    "undo": _undo,
}
