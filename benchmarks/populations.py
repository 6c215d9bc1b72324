"""Whether verdicts are right whoever calls: simulated populations through the real booking and the real judging.

Runtimes' ledgers book each run as its gateway placed it, the operator's judging reads them every 15 seconds. Only
time, chance and the network are simulated. The column of the code before was made by the same calls through booking and
judging at bcb3976, and is kept here as data.
"""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from agent_api.observations import Outcome
from agent_api.placement import Placement
from agent_api.v1alpha1.rollout import Analysis, AnalysisMetric, Analyze, Canary, MetricName, Rollout, Step, Stickiness
from agent_api.v1alpha1.route import AgentRouteSpec
from agent_api.v1alpha1.status import Verdict
from agent_operator.core import judging, routing
from agent_operator.core.engine.goal import steps_hash
from agent_operator.core.facts import Knobs, RevisionHealth, Seen
from agent_runtime.core.booking import Ledger, RunFacts
from agent_runtime.core.conversation_ids import RANDOM_BYTES, ConversationIds
from agent_runtime.core.conversations import Fresh, Turn, turn_of, unit_of
from benchmarks.outcome import Bar
from benchmarks.outcome import Outcome as Measured
from benchmarks.population_traffic import (
    CLEAN,
    MARGIN,
    POPULATIONS,
    SECONDS,
    STABLE_FAILS,
    TRUTHS,
    USERS,
    Call,
    Kind,
    Population,
)

NAME = "populations"
ROLLOUTS = 300
LIMIT = 0.05
FOUND_WITHIN = 2.0
BEFORE = Path(__file__).with_name("populations_before.json")
TABLE = Path(__file__).with_name("populations.md")
ABOUT = (
    f"{ROLLOUTS} rollouts a cell at weight 50 %, 4 runs a second for at most {SECONDS} s; stable fails"
    f" {STABLE_FAILS:.0%}, `maxIncrease` is {MARGIN}, `minSamples` 50; the canary fails as often, exactly by the margin"
    " more, or three times as often. The cells are in `benchmarks/populations.md`; here is the worst of them."
)
_BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
_WEIGHT = 50
_LOOK_SECONDS = 15.0
"""Between two looks; the operator looks each second, and the chances hold for any number of looks."""
_PODS = 2
_ABANDONED_SECONDS = 10.0
_OVERDUE_SECONDS = 305.0
_KEY = b"k" * 32
_STABLE, _CANARY = "support-stable", "support-canary"


@dataclass(slots=True)
class _Pod:
    ledger: Ledger
    ids: ConversationIds


@dataclass(slots=True)
class _World:
    """Two revisions in mid-rollout, and who is where."""

    population: Population
    canary_fails: float
    chance: random.Random
    pods: dict[str, list[_Pod]] = field(default_factory=dict)
    sides: dict[int, str] = field(default_factory=dict)
    homes: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Revision and id of each conversation that began."""

    def __post_init__(self) -> None:
        """Start the pods."""
        since = _BEGIN.timestamp()
        for revision in (_STABLE, _CANARY):
            self.pods[revision] = [
                _Pod(Ledger(f"{revision}-{n}", revision, since, _OVERDUE_SECONDS), ConversationIds(revision, (_KEY,)))
                for n in range(_PODS)
            ]

    def side_of(self, key: int) -> str:
        """Where chance places a conversation, or a user."""
        if key not in self.sides:
            self.sides[key] = _CANARY if self.chance.random() * 100 < _WEIGHT else _STABLE
        return self.sides[key]

    def place(self, call: Call) -> tuple[str, Placement, str | None]:
        """Revision, placement and id of a request, as its gateway has them."""
        if call.kind is Kind.OWN:
            return _STABLE, Placement.FOREIGN, f"session-{call.conversation}"
        if call.kind is Kind.FORGED:
            return _CANARY, Placement.PINNED, f"{_CANARY}.1.{call.conversation:08d}"
        if call.conversation in self.homes:
            revision, minted = self.homes[call.conversation]
            return revision, Placement.PINNED, minted
        if self.population.by_user:
            return self.side_of(call.user), Placement.SPLIT_BY_USER, None
        return self.side_of(call.conversation), Placement.SPLIT, None

    def begin(self, call: Call) -> tuple[float, Ledger, int, Outcome, RunFacts]:
        """Book that a run begins; returns when it ends and how."""
        revision, placement, offered = self.place(call)
        pod = self.chance.choice(self.pods[revision])
        user = f"user-{call.user}"
        turn = turn_of(pod.ids, offered, user, Fresh(1, placement, self.chance.randbytes(RANDOM_BYTES)))
        if call.kind is Kind.OURS:
            self.homes.setdefault(call.conversation, (revision, str(turn.conversation)))
        now = _BEGIN.timestamp() + call.at
        ticket = pod.ledger.begin(now)
        unit = unit_of(turn.conversation, user if self.population.by_user else None)
        pod.ledger.identify(ticket, Turn(turn.conversation, turn.first, unit))
        seconds, outcome, facts = _end_of(call, self.canary_fails if revision == _CANARY else STABLE_FAILS)
        return call.at + seconds, pod.ledger, ticket, outcome, facts


def _end_of(call: Call, fails: float) -> tuple[float, Outcome, RunFacts]:
    if call.patience is not None and call.patience < call.seconds:
        abandoned = call.patience >= _ABANDONED_SECONDS
        return call.patience, Outcome.ERROR if abandoned else Outcome.EXCLUDED, RunFacts(left=True)
    return call.seconds, Outcome.ERROR if call.luck < fails else Outcome.OK, RunFacts()


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What became of the rollouts of one cell: shares, and the canary's units until a Fail (median, None: no Fail)."""

    failed: float
    passed: float
    units_to_fail: float | None


def simulate(population: Population, canary_fails: float, seed: int) -> tuple[Verdict | None, int]:
    """One rollout: its verdict, None without one, and how many units of the canary it took."""
    chance = random.Random(f"{population.name}/{canary_fails}/{seed}")  # noqa: S311 - no secret
    world = _World(population, canary_fails, chance)
    plan = _plan(population)
    route = _route(plan)
    ends: list[tuple[float, int, Ledger, int, Outcome, RunFacts]] = []
    look = _LOOK_SECONDS
    for number, call in enumerate(population.calls(chance)):
        while look <= call.at:
            _finish(ends, look)
            route, judged = _look(world, route, plan, look)
            if judged is not None:
                return judged
            look += _LOOK_SECONDS
        _finish(ends, call.at)
        ended, ledger, ticket, outcome, facts = world.begin(call)
        heapq.heappush(ends, (ended, number, ledger, ticket, outcome, facts))
    return None, 0


def _finish(ends: list[tuple[float, int, Ledger, int, Outcome, RunFacts]], until: float) -> None:
    while ends and ends[0][0] <= until:
        ended, _, ledger, ticket, outcome, facts = heapq.heappop(ends)
        ledger.end(ticket, outcome, _BEGIN.timestamp() + ended, facts)


def _look(
    world: _World, route: AgentRouteSpec, plan: Rollout, at: float
) -> tuple[AgentRouteSpec, tuple[Verdict, int] | None]:
    now = _BEGIN + timedelta(seconds=at)
    ledger = route.rollout.analysis
    since = 0 if ledger is None else ledger.read_until
    pods = [pod for pods in world.pods.values() for pod in pods]
    observed = tuple(pod.ledger.observations(now.timestamp(), since) for pod in pods)
    seen = _seen(plan, observed)
    route = judging.read(route, seen, now)
    judgement = judging.judge(route, seen, now)
    if judgement is None or judgement.verdict is not Verdict.FAIL:
        judgement = judging.ahead(route, seen, now) or judgement
    if judgement is None or judgement.verdict not in {Verdict.FAIL, Verdict.PASS}:
        return route, None
    return route, (judgement.verdict, judgement.metrics[0].canary_requests)


def _plan(population: Population) -> Rollout:
    metric = AnalysisMetric(name=MetricName.ERROR_RATE, max_increase=str(MARGIN))
    canary = Canary(
        stickiness=Stickiness.USER if population.by_user else Stickiness.CONVERSATION,
        steps=(Step(set_weight=_WEIGHT), Step(analyze=Analyze())),
        analysis=Analysis(metrics=[metric], min_samples=50),
    )
    return Rollout(canary=canary)


def _seen(plan: Rollout, observed: tuple[object, ...]) -> Seen:
    health = RevisionHealth(exists=True, pods=_PODS, ready=_PODS, status_current=True)
    return Seen(
        target=_CANARY,
        replicas=_PODS,
        knobs=Knobs(),
        paused=False,
        rollout=plan,
        revisions={_STABLE: health, _CANARY: health},
        acknowledged=True,
        recorded=frozenset({_STABLE, _CANARY}),
        observations=observed,  # type: ignore[arg-type]
        complete=True,
    )


def _route(plan: Rollout) -> AgentRouteSpec:
    stable = routing.edit_ledger(routing.first_route(10000, _STABLE, _BEGIN), stable_available=True)
    begun = routing.begin(stable, _CANARY, steps_hash(_seen(plan, ())), _BEGIN, promote_full=False)
    return routing.next_step(routing.weigh(begun, _WEIGHT, _BEGIN), None, _BEGIN)


def cell(population: Population, canary_fails: float, rollouts: int) -> Verdicts:
    """Verdicts of many rollouts of one population."""
    found = [simulate(population, canary_fails, seed) for seed in range(rollouts)]
    fails = [units for verdict, units in found if verdict is Verdict.FAIL]
    passed = sum(verdict is Verdict.PASS for verdict, _ in found)
    return Verdicts(len(fails) / rollouts, passed / rollouts, median(fails) if fails else None)


def _cell_of(wanted: tuple[Population, str, float, int]) -> Verdicts:
    population, _, fails, rollouts = wanted
    return cell(population, fails, rollouts)


def measure(rollouts: int = ROLLOUTS) -> Measured:
    """Every cell, its table, and the worst shares."""
    wanted = [(population, truth, fails, rollouts) for population in POPULATIONS for truth, fails in TRUTHS.items()]
    cells: dict[str, dict[str, Verdicts]] = {population.name: {} for population in POPULATIONS}
    with ProcessPoolExecutor() as workers:
        for (population, truth, *_), found in zip(wanted, workers.map(_cell_of, wanted), strict=True):
            cells[population.name][truth] = found
    TABLE.write_text("\n".join(_table(cells, rollouts)) + "\n", encoding="utf-8")
    wrong_fails = max(cells[name][truth].failed for name in cells for truth in ("equal", "onMargin"))
    wrong_passes = max(cells[name][truth].passed for name in cells for truth in ("onMargin", "threeTimesWorse"))
    slowest = max(ratio for ratio in (_ratio(cells, p) for p in POPULATIONS) if ratio is not None)
    figures = {
        "cells": len(cells) * len(TRUTHS),
        "rolloutsACell": rollouts,
        "worstFalseFailPercent": round(100 * wrong_fails, 2),
        "worstFalsePassPercent": round(100 * wrong_passes, 2),
        "slowestFoundToCleanRatio": round(slowest, 2),
    }
    bars = {
        "falseFail": Bar(wrong_fails, LIMIT),
        "falsePass": Bar(wrong_passes, LIMIT),
        "foundWithinClean": Bar(slowest, FOUND_WITHIN),
    }
    return Measured(NAME, figures, bars)


def _ratio(cells: dict[str, dict[str, Verdicts]], population: Population) -> float | None:
    """Units until a Fail of a canary three times worse, to those of the clean population of the same stickiness."""
    clean = cells[(USERS if population.by_user else CLEAN).name]["threeTimesWorse"].units_to_fail
    units = cells[population.name]["threeTimesWorse"].units_to_fail
    return None if units is None or clean is None else units / clean


def _table(cells: dict[str, dict[str, Verdicts]], rollouts: int) -> Iterator[str]:
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    yield "# Verdicts by population"
    yield ""
    yield f"Written by `make bench NAME={NAME}`: {rollouts} rollouts a cell. In brackets the same populations through"
    yield f"the code at {before['commit']}, {before['rollouts']} rollouts a cell."
    yield ""
    heads = ("equal: Fail", "on the margin: Fail", "on the margin: Pass", "3x worse: Pass", "3x worse: Fail")
    yield f"| population | {' | '.join(heads)} | units until that, to clean |"
    yield "|---|---|---|---|---|---|---|"
    for population in POPULATIONS:
        name = population.name
        now, then = cells[name], before["cells"].get(name, {})
        shares = (
            ("equal", "failed"),
            ("onMargin", "failed"),
            ("onMargin", "passed"),
            ("threeTimesWorse", "passed"),
            ("threeTimesWorse", "failed"),
        )
        columns = [f"{_percent(getattr(now[t], w))} ({_percent(then.get(t, {}).get(w))})" for t, w in shares]
        ratio = _ratio(cells, population)
        yield f"| {name} | {' | '.join(columns)} | {'-' if ratio is None else f'{ratio:.2f}'} |"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
