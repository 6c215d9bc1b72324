"""What to type next and why it stands still, by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from agentctl.rollout.guidance import Invocation, blockers, next_commands
from agentctl.rollout.situation import Situation, parse_agent, situation

if TYPE_CHECKING:
    from collections.abc import Callable

    State = Callable[[str], dict[str, Any]]

CANARY = "support-77aa01e4c3"
WATCH = "agentctl get support --watch"
PROMOTE = "agentctl promote support"
ABORT = "agentctl abort support"
TABLE = [
    ("new", Situation.NOT_OBSERVED, ["kubectl get pods -A -l"], "not reported"),
    ("healthy", Situation.HEALTHY, [], None),
    ("first-release", Situation.PROGRESSING, [WATCH], "first revision"),
    ("analyzing", Situation.PROGRESSING, [WATCH, ABORT], "no verdict yet: 41 of"),
    ("unverified", Situation.PROGRESSING, [WATCH, ABORT], "going on"),
    ("timed-pause", Situation.TIMED_PAUSE, [WATCH, PROMOTE, ABORT], "pause of 5m"),
    ("pause-step", Situation.PAUSED_AT_STEP, [PROMOTE, ABORT], "waits for a person"),
    ("inconclusive", Situation.INCONCLUSIVE, [PROMOTE, ABORT], "without a verdict"),
    ("paused-by-spec", Situation.PAUSED_BY_SPEC, ["kubectl patch agd support", ABORT], "spec.paused"),
    ("suspended", Situation.SUSPENDED, ["kubectl patch agd support"], "spec.suspend"),
    ("rolled-back", Situation.ROLLED_BACK, ["kubectl apply -f", "agentctl retry support"], CANARY),
    ("invalid-spec", Situation.INVALID_SPEC, ["kubectl edit agd support"], "no key `prompt`"),
    ("name-conflict", Situation.NAME_CONFLICT, ["kubectl get service"], "not ours"),
    ("record-lost", Situation.PROBLEM, ["kubectl describe agd support"], "RecordLost"),
    ("crash-loop", Situation.DEGRADED, ["kubectl describe pods", "kubectl logs"], "CrashLoop"),
]


@pytest.mark.parametrize(("name", "expected", "commands", "reason"), TABLE, ids=[row[0] for row in TABLE])
def test_each_state_has_its_commands_and_its_reason(
    state: State, name: str, expected: Situation, commands: list[str], reason: str | None
) -> None:
    agent = parse_agent(state(name))
    suggested = [item.command for item in next_commands(agent, Invocation())]
    assert situation(agent) is expected
    assert [text[: len(start)] for text, start in zip(suggested, commands, strict=True)] == commands
    assert (reason is None and not blockers(agent)) or (reason is not None and reason in blockers(agent)[0])


def test_the_table_covers_every_situation_but_the_nameless_pause() -> None:
    assert {row[1] for row in TABLE} | {Situation.PAUSED} == set(Situation)


def test_commands_carry_program_and_flags(state: State) -> None:
    call = Invocation("kubectl agent", " --context prod -n team-a")
    commands = next_commands(parse_agent(state("pause-step")), call)
    assert commands[0].command == "kubectl agent promote support --context prod -n team-a"
    assert commands[1].effect == f"take {CANARY} back"


def test_an_unverified_weight_is_named_beside_the_reason(state: State) -> None:
    assert "not every ready gateway has confirmed" in blockers(parse_agent(state("unverified")))[1]


def test_a_generation_not_acted_on_is_named(state: State) -> None:
    document = state("healthy")
    document["metadata"]["generation"] = 8
    assert blockers(parse_agent(document)) == ("the operator has not acted on generation 8 yet (this is of 7)",)


def test_a_rejected_revision_that_serves_again_is_no_rollback(state: State) -> None:
    document = state("crash-loop")
    document["status"]["rejectedRevision"] = document["status"]["stableRevision"]
    assert situation(parse_agent(document)) is Situation.DEGRADED
