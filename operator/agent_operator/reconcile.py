"""Reconcile in five verbs: observe, decide, plan, apply, report. Level-triggered; safe to stop between any two."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from agent_operator.cluster.errors import ApiError, NamespaceEndingError, RefusedError, told
from agent_operator.cluster.namespace import NamespaceGateway
from agent_operator.cluster.observer import Observer
from agent_operator.cluster.store import Key
from agent_operator.cluster.writer import NameTakenError, Writer
from agent_operator.core.conditions import appeared, with_problem
from agent_operator.core.decide import decide
from agent_operator.core.facts import Note
from agent_operator.core.plan import WriteRoute, placement_problem, plan
from agent_operator.core.snapshot import Agent, Decision, Problem, Snapshot
from agent_operator.core.status import make_status
from agent_operator.telemetry import Telemetry

LOOK_AT_PROBLEM = 15.0
LOOK_AFTER_WRITE = 0.2
LOOK_AT_ENDING = 30.0
MAX_REASON = 64
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentKey:
    """One AgentDeployment."""

    namespace: str
    name: str

    @property
    def pair(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class NamespaceKey:
    """What agents of one namespace share."""

    namespace: str


WorkKey = AgentKey | NamespaceKey


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a person must mend, whether anything was written, and whether the route stands as decided."""

    problems: tuple[Problem, ...]
    wrote: bool
    routed: bool


def _next_look(wanted: float | None, outcome: _Outcome) -> float | None:
    """Look again soon after a write, whose result was not in the snapshot, and later at what a person must mend."""
    limits = [wanted] if wanted else []
    if outcome.wrote:
        limits.append(LOOK_AFTER_WRITE)
    if outcome.problems:
        limits.append(LOOK_AT_PROBLEM)
    return min(limits, default=None)


class Reconciler:
    """Brings one key to what is wanted, a step at a time."""

    def __init__(self, observer: Observer, writer: Writer, gateway: NamespaceGateway, telemetry: Telemetry) -> None:
        self._observer = observer
        self._writer = writer
        self._gateway = gateway
        self._telemetry = telemetry
        self._numbers = itertools.count()
        self.enqueue: Callable[[WorkKey], None] = lambda _key: None

    async def reconcile(self, key: WorkKey) -> float | None:
        """Work on a key; returns seconds after which to come again, or None.

        Raises
        ------
        ApiError
            If the API server did not do what was asked; try again with backoff.
        """
        with self._telemetry.reconcile(type(key).__name__):
            try:
                if isinstance(key, NamespaceKey):
                    return await self._gateway.reconcile(key.namespace)
                return await self._agent(key)
            except NamespaceEndingError:
                return LOOK_AT_ENDING
            except ApiError:
                raise
            except Exception as error:
                await self._say_stuck(key, error)
                raise

    async def _say_stuck(self, key: WorkKey, error: Exception) -> None:
        """Tell people of a fault of ours where they look; the objects that led to it may be what they can mend."""
        message = (
            f"the operator cannot go on with this: {told(error)}; what serves goes on as it is, and it is tried again."
            " Undo the last change to the agent or its objects, and report what the operator's log says"
        )
        problem = Problem("InternalError", type(error).__name__[:MAX_REASON], message)
        if isinstance(key, NamespaceKey):
            self._gateway.note(key.namespace, problem)
            return
        agent = self._observer.agent_as_it_stands(key.pair)
        if agent is None:
            return
        status = with_problem(agent.status, problem, agent.generation, datetime.now(UTC))
        try:
            await self._writer.report(agent, status)
        except ApiError as refusal:
            log.warning("the fault could not be told in the status", key=str(key), error=str(refusal))

    async def _agent(self, key: AgentKey) -> float | None:
        snapshot = await self._observer.observe(key.pair)
        if snapshot is None:
            self._observer.forget(key.pair)
            self._telemetry.forget(key.pair)
            self.enqueue(NamespaceKey(key.namespace))
            return None
        now = datetime.now(UTC)
        decision = decide(snapshot, now)
        outcome = await self._apply(snapshot, decision)
        if not outcome.routed:
            stored = None if snapshot.route is None else snapshot.route.spec
            decision = replace(decision, route=stored, notes=())
        self._tell(snapshot.agent, decision.notes, now)
        if decision.look_again == 0 and not outcome.problems:
            return 0
        await self._report(snapshot, decision, outcome.problems, now)
        if self._observer.moved_on(snapshot.agent):
            return 0
        return _next_look(decision.look_again, outcome)

    async def _report(
        self, snapshot: Snapshot, decision: Decision, problems: tuple[Problem, ...], now: datetime
    ) -> None:
        agent = snapshot.agent
        everything = (*decision.problems, *placement_problem(snapshot, decision), *problems)
        everything = (*everything, *self._gateway.problems(agent.namespace))
        status = make_status(snapshot, decision, everything, now)
        if await self._writer.report(agent, status):
            self._tell(agent, appeared(everything, agent.status.get("conditions", ())), now)
        self._telemetry.observe((agent.namespace, agent.name), status)

    async def _apply(self, snapshot: Snapshot, decision: Decision) -> _Outcome:
        """Carry out the plan.

        A record that cannot be written keeps the route from naming it. Any later object that is taken or refused
        becomes a condition, and holds up nothing else. What may work the next time is raised.
        """
        problems: list[Problem] = []
        wrote = False
        actions = plan(snapshot, decision)
        for index, action in enumerate(actions):
            try:
                wrote |= await self._writer.perform(action, snapshot.agent)
            except NameTakenError as taken:
                problems.append(taken.problem)
            except RefusedError as refused:
                message = f"the API server refuses an object: {refused}; mend the spec"
                problems.append(Problem("ApplyRefused", "ApplyRefused", message))
            if problems and any(isinstance(later, WriteRoute) for later in actions[index + 1 :]):
                return _Outcome(tuple(problems), wrote=wrote, routed=False)
        return _Outcome(tuple(problems), wrote=wrote, routed=True)

    def _tell(self, agent: Agent, notes: Iterable[Note], now: datetime) -> None:
        for note in notes:
            log.info(note.reason, namespace=agent.namespace, agent=agent.name, message=note.message)
            self._telemetry.count(note.reason)
            suffix = f"{int(now.timestamp() * 1000):x}{next(self._numbers):04x}"
            self._writer.announce(agent, note, now, suffix)
