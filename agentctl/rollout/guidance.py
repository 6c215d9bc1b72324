"""What to type next, and why a rollout stands still: pure, so that every state has a test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_api.meta import REVISION_LABEL
from agentctl.rollout.situation import (
    Situation,
    condition,
    current_step,
    problem,
    situation,
    status_of,
    true_condition,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent_api.v1alpha1.agent import AgentDeployment

OPERATOR_SELECTOR = "app.kubernetes.io/name=greylag,app.kubernetes.io/component=operator"


@dataclass(frozen=True, slots=True)
class Invocation:
    """How this program was called, so that suggestions can be typed as they stand."""

    program: str = "agentctl"
    flags: str = ""
    """Flags that select cluster and namespace, with a space in front, or nothing."""

    def verb(self, verb: str, name: str) -> str:
        """A command line of this program."""
        return f"{self.program} {verb} {name}{self.flags}"

    def kubectl(self, arguments: str) -> str:
        """A command line of kubectl."""
        return f"kubectl {arguments}{self.flags}"

    def find_operator(self) -> str:
        """The command line that shows whether the operator runs."""
        return f"kubectl get pods -A -l {OPERATOR_SELECTOR}"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One command and what it does."""

    command: str
    effect: str


def next_commands(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    """What to type next, the most likely first; nothing when there is nothing to do."""
    return _SUGGESTIONS[situation(agent)](agent, call)


def _name(agent: AgentDeployment) -> str:
    return str(agent.metadata["name"])


def _watch(agent: AgentDeployment, call: Invocation) -> Suggestion:
    return Suggestion(call.verb("get", f"{_name(agent)} --watch"), "follow it")


def _promote(agent: AgentDeployment, call: Invocation, effect: str) -> Suggestion:
    return Suggestion(call.verb("promote", _name(agent)), effect)


def _abort(agent: AgentDeployment, call: Invocation) -> Suggestion:
    effect = f"take {status_of(agent).canary_revision or 'the canary'} back"
    return Suggestion(call.verb("abort", _name(agent)), effect)


def _unset(agent: AgentDeployment, call: Invocation, field: str, effect: str) -> Suggestion:
    patch = f'patch agd {_name(agent)} --type merge -p \'{{"spec":{{"{field}":false}}}}\''
    return Suggestion(call.kubectl(patch), f"{effect} (in Git, if it is applied from there)")


def _nothing(_agent: AgentDeployment, _call: Invocation) -> tuple[Suggestion, ...]:
    return ()


def _find_operator(_agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    return (Suggestion(call.find_operator(), "see whether the operator runs"),)


def _correct_spec(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    return (Suggestion(call.kubectl(f"edit agd {_name(agent)}"), "correct the spec (or apply a corrected manifest)"),)


def _resolve_name(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    get = call.kubectl(f"get service,deployment,configmap {_name(agent)} --ignore-not-found")
    return (Suggestion(get, "see the object in the way; rename or delete it, or choose another name for the agent"),)


def _look_at_object(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    return (Suggestion(call.kubectl(f"describe agd {_name(agent)}"), "see its events, and do what the message says"),)


def _unsuspend(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    return (_unset(agent, call, "suspend", "let it answer again"),)


def _unpause(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    resume = _unset(agent, call, "paused", "let the rollout go on")
    return (resume, _abort(agent, call)) if status_of(agent).canary_revision else (resume,)


def _after_rollback(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    rejected = status_of(agent).rejected_revision
    return (
        Suggestion(call.kubectl("apply -f MANIFEST"), "with a corrected spec: a new revision is rolled out"),
        Suggestion(call.verb("retry", _name(agent)), f"try {rejected} again, as it is"),
    )


def _look_at_pods(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    status = status_of(agent)
    revision = status.canary_revision or status.stable_revision
    selector = f"{REVISION_LABEL}={revision}" if revision else f"greylag.dev/agent={_name(agent)}"
    look = (
        Suggestion(call.kubectl(f"describe pods -l {selector}"), "see why its pods are not ready"),
        Suggestion(call.kubectl(f"logs -l {selector} --tail 50"), "see what they say"),
    )
    return (*look, _abort(agent, call)) if status.canary_revision else look


def _decide(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    return (_promote(agent, call, "go on to the next step"), _abort(agent, call))


def _decide_undecided(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    return (_promote(agent, call, "go on without the proof"), _abort(agent, call))


def _skip_wait(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    return (_watch(agent, call), _promote(agent, call, "end the pause now"), _abort(agent, call))


def _follow(agent: AgentDeployment, call: Invocation) -> tuple[Suggestion, ...]:
    watch = _watch(agent, call)
    return (watch, _abort(agent, call)) if status_of(agent).canary_revision else (watch,)


_SUGGESTIONS: dict[Situation, Callable[[AgentDeployment, Invocation], tuple[Suggestion, ...]]] = {
    Situation.NOT_OBSERVED: _find_operator,
    Situation.INVALID_SPEC: _correct_spec,
    Situation.NAME_CONFLICT: _resolve_name,
    Situation.PROBLEM: _look_at_object,
    Situation.SUSPENDED: _unsuspend,
    Situation.ROLLED_BACK: _after_rollback,
    Situation.DEGRADED: _look_at_pods,
    Situation.PAUSED_BY_SPEC: _unpause,
    Situation.INCONCLUSIVE: _decide_undecided,
    Situation.PAUSED_AT_STEP: _decide,
    Situation.PAUSED: _decide,
    Situation.TIMED_PAUSE: _skip_wait,
    Situation.PROGRESSING: _follow,
    Situation.HEALTHY: _nothing,
}


def blockers(agent: AgentDeployment) -> tuple[str, ...]:
    """Why it stands still, the main reason first; empty when nothing holds it."""
    return tuple(dict.fromkeys(text for text in (_main_reason(agent), *_delays(agent)) if text))


def _main_reason(agent: AgentDeployment) -> str:
    status = status_of(agent)
    texts: dict[Situation, Callable[[], str]] = {
        Situation.NOT_OBSERVED: lambda: "the operator has not reported on it yet",
        Situation.INVALID_SPEC: lambda: _message_of(agent, "InvalidSpec"),
        Situation.NAME_CONFLICT: lambda: _message_of(agent, "NameConflict"),
        Situation.PROBLEM: lambda: _problem_text(agent),
        Situation.SUSPENDED: lambda: "spec.suspend is true: the gateway refuses new runs",
        Situation.ROLLED_BACK: lambda: (
            f"{status.rejected_revision} was taken back; not tried again before the spec changes or `retry`"
        ),
        Situation.DEGRADED: lambda: _message_of(agent, "Stalled") or status.message or "",
        Situation.PAUSED_BY_SPEC: lambda: "spec.paused is true: the rollout is frozen where it stands",
        Situation.INCONCLUSIVE: lambda: f"the analysis ended without a verdict{_analysis_text(agent)}",
        Situation.PAUSED_AT_STEP: lambda: "the step `pause` waits for a person: promote or abort",
        Situation.PAUSED: lambda: _message_of(agent, "Paused") or status.message or "",
        Situation.TIMED_PAUSE: lambda: _timed_pause_text(agent),
        Situation.PROGRESSING: lambda: _progress_text(agent),
        Situation.HEALTHY: lambda: "",
    }
    return texts[situation(agent)]()


def _problem_text(agent: AgentDeployment) -> str:
    found = problem(agent)
    return f"{found.type}: {found.message}" if found else ""


def _message_of(agent: AgentDeployment, kind: str) -> str:
    found = true_condition(agent, kind)
    return f"{found.reason}: {found.message}" if found else ""


def _analysis_text(agent: AgentDeployment) -> str:
    report = status_of(agent).analysis
    return f": {report.message}" if report else ""


def _timed_pause_text(agent: AgentDeployment) -> str:
    step = current_step(agent)
    duration = step.pause.duration if step and step.pause else None
    return f"a pause of {duration} runs; it ends by itself"


def _progress_text(agent: AgentDeployment) -> str:
    step = current_step(agent)
    if step is not None and step.analyze is not None and status_of(agent).analysis:
        return f"the analysis has no verdict yet{_analysis_text(agent)}"
    found = true_condition(agent, "Reconciling")
    return found.message if found else status_of(agent).message or ""


def _delays(agent: AgentDeployment) -> list[str]:
    status, generation = status_of(agent), agent.metadata.get("generation")
    texts = []
    if status.observed_generation is not None and generation is not None and status.observed_generation < generation:
        texts.append(
            f"the operator has not acted on generation {generation} yet (this is of {status.observed_generation})"
        )
    pending = [item.revision for item in status.traffic if not item.verified]
    if pending:
        texts.append(f"not every ready gateway has confirmed the weight of {', '.join(pending)}")
    available = condition(agent, "Available")
    if available is not None and available.status != "True":
        texts.append(f"not available: {available.message}")
    return texts
