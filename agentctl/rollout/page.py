"""The page of one agent, from which alone a person knows what happens and what to type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from agent_api.meta import ConditionStatus, format_time
from agent_api.v1alpha1.status import CommandResult, Phase, Verdict
from agentctl.rollout.guidance import Invocation, blockers, next_commands
from agentctl.rollout.situation import Situation, condition, parse_agent, situation, status_of
from agentctl.text.layout import MISSING, PHASE_STYLES, age, columns, joined, printable, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from agent_api.meta import Condition
    from agent_api.v1alpha1.agent import AgentDeployment
    from agent_api.v1alpha1.rollout import Step

INDENT = 2
SHOULD_BE_TRUE = frozenset({"Ready", "Available"})
EITHER_WAY = frozenset({"Progressing"})
VERDICT_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "red", Verdict.INCONCLUSIVE: "yellow"}
PLAIN = Invocation()
RESULT_STYLES = {CommandResult.DONE: "green", CommandResult.REFUSED: "red", CommandResult.IGNORED: "yellow"}


def agent_page(
    document: Mapping[str, Any],
    now: datetime,
    call: Invocation = PLAIN,
    width: int = 80,
) -> Text:
    """Everything about one agent.

    Raises
    ------
    AgentctlError
        If the object holds a value that this version does not know.
    """
    agent = parse_agent(document)
    sections = (
        _summary(agent, now, width),
        _steps(agent),
        _traffic(agent),
        _analysis(agent, width),
        _standing_still(agent, width),
        _suggestions(agent, call, width),
        _last_rollback(agent, now, width),
        _conditions(agent, width),
        _command(agent, width),
    )
    return joined(line for position, lines in enumerate(filter(None, sections)) for line in _spaced(position, lines))


def _spaced(position: int, lines: list[Text]) -> list[Text]:
    return lines if position == 0 else [Text(), *lines]


def _heading(text: str) -> Text:
    return Text(text, style="bold")


def _summary(agent: AgentDeployment, now: datetime, width: int) -> list[Text]:
    status, metadata = status_of(agent), agent.metadata
    phase = status.phase or MISSING
    title = Text.assemble(
        (printable(f"{metadata.get('namespace', '')}/{metadata['name']}"), "bold"),
        "   ",
        (phase, PHASE_STYLES.get(phase, "")),
    )
    message = wrapped(status.message, width=width, indent=INDENT) if status.message else []
    facts = columns(
        [
            ("Serves", _serves(agent)),
            ("Rolling out", _rolling_out(agent)),
            ("Model", _model(agent)),
            ("URL", status.url or MISSING),
            *_spend(agent, now),
        ],
        indent=INDENT,
    )
    return [title, *message, Text(), *facts]


def _model(agent: AgentDeployment) -> str:
    """Model of the spec, which after a rollback is not the one that serves."""
    status = status_of(agent)
    taken_back = status.rejected_revision is not None and status.canary_revision is None
    return f"{agent.spec.model.name} (asked for by the spec; not what serves)" if taken_back else agent.spec.model.name


def _spend(agent: AgentDeployment, now: datetime) -> list[tuple[str, str]]:
    """What was spent on the last day that the operator heard of; nothing while no money is counted."""
    spend = status_of(agent).spend
    if spend is None:
        return []
    left = "" if spend.remaining_usd is None else f", {spend.remaining_usd} left"
    canary = "" if spend.canary_usd is None else f", {spend.canary_usd} of it by the canary"
    return [("Spent", f"${spend.today_usd} on {spend.day}{canary}{left}, seen {age(spend.as_of, now)} ago")]


def _serves(agent: AgentDeployment) -> str:
    status = status_of(agent)
    if status.stable_revision is None:
        return "nothing yet"
    ready = f", {status.ready} pods ready" if status.ready else ""
    available = condition(agent, "Available")
    missing = ", NOT AVAILABLE" if available and available.status is not ConditionStatus.TRUE else ""
    suspended = ", but SUSPENDED: new runs are refused" if agent.spec.suspend else ""
    return f"{status.stable_revision}{ready}{missing}{suspended}"


def _rolling_out(agent: AgentDeployment) -> str:
    status = status_of(agent)
    if status.canary_revision is None:
        return "nothing"
    weight = "" if status.canary_weight is None else f", {status.canary_weight}% of new conversations"
    step = f", step {status.step}" if status.step else ""
    return f"{status.canary_revision}{step}{weight}"


def _steps(agent: AgentDeployment) -> list[Text]:
    status, steps = status_of(agent), agent.spec.rollout.canary.steps
    if status.canary_revision is None:
        return []
    current = status.current_step_index or 0
    texts = [*(_step_text(step) for step in steps), "promote"]
    lines = [_step_line(index, text, current) for index, text in enumerate(texts)]
    return [_heading("Steps"), *lines]


def _step_line(index: int, text: str, current: int) -> Text:
    mark, style = ("[x]", "green") if index < current else ("[>]", "bold") if index == current else ("[ ]", "")
    return Text(f"{' ' * INDENT}{mark} {index + 1:>2}  {text}", style=style)


def _step_text(step: Step) -> str:
    if step.set_weight is not None:
        return f"setWeight {step.set_weight}%"
    if step.pause is not None:
        return f"pause {step.pause.duration}" if step.pause.duration else "pause until promoted by hand"
    return "analyze"


def _traffic(agent: AgentDeployment) -> list[Text]:
    status = status_of(agent)
    if not status.traffic:
        return []
    roles = {status.canary_revision: "canary", status.stable_revision: "stable"}
    rows: list[tuple[str | Text, ...]] = [("REVISION", "ROLE", "WEIGHT", "VERIFIED")]
    for item in status.traffic:
        verified = Text("yes", style="green") if item.verified else Text("not yet", style="yellow")
        rows.append((item.revision, roles.get(item.revision, "draining"), f"{item.weight}%", verified))
    return [
        _heading("Traffic (new conversations; verified: every ready gateway has confirmed it)"),
        *columns(rows, indent=INDENT),
    ]


def _analysis(agent: AgentDeployment, width: int) -> list[Text]:
    report = status_of(agent).analysis
    if report is None:
        return []
    heading = Text.assemble(("Analysis: ", "bold"), (report.verdict.value, VERDICT_STYLES.get(report.verdict, "")))
    rows: list[tuple[str | Text, ...]] = [("METRIC", "VERDICT", "CANARY", "STABLE", "N CANARY", "N STABLE")]
    for metric in report.metrics:
        verdict = Text(metric.verdict.value, style=VERDICT_STYLES.get(metric.verdict, ""))
        counts = (str(metric.canary_requests), str(metric.stable_requests))
        rows.append((metric.name, verdict, metric.canary, metric.stable, *counts))
    table = columns(rows, indent=INDENT) if report.metrics else []
    notes = [f"{metric.name}: {metric.message}" for metric in report.metrics if metric.message]
    texts = [report.message, *notes]
    return [heading, *table, *(line for text in texts for line in wrapped(text, width=width, indent=INDENT))]


def _standing_still(agent: AgentDeployment, width: int) -> list[Text]:
    reasons = blockers(agent)
    if not reasons:
        return []
    moving = situation(agent) in {Situation.PROGRESSING, Situation.TIMED_PAUSE, Situation.HEALTHY}
    heading = "What it waits for" if moving else "Why it stands still"
    return [_heading(heading), *(line for text in reasons for line in _bullet(text, width))]


def _bullet(text: str, width: int) -> list[Text]:
    lines = wrapped(text, width=width, indent=INDENT + 2)
    if lines:
        lines[0] = Text(f"{' ' * INDENT}- {lines[0].plain.strip()}")
    return lines


def _suggestions(agent: AgentDeployment, call: Invocation, width: int) -> list[Text]:
    lines = [_heading("What to type next")]
    for suggestion in next_commands(agent, call):
        lines.append(Text(f"{' ' * INDENT}{printable(suggestion.command)}", style="cyan"))
        lines.extend(wrapped(suggestion.effect, width=width, indent=INDENT + 4))
    return lines if len(lines) > 1 else [Text.assemble(("What to type next: ", "bold"), "nothing")]


def _last_rollback(agent: AgentDeployment, now: datetime, width: int) -> list[Text]:
    last = status_of(agent).last_rollback
    if last is None:
        return []
    style = "red" if status_of(agent).phase is Phase.DEGRADED else ""
    when = f"{age(last.time, now)} ago ({format_time(last.time)})"
    summary = Text(f"{' ' * INDENT}{printable(f'{last.revision}, {when}: {last.reason}')}", style=style)
    return [_heading("Last rollback"), summary, *wrapped(last.message, width=width, indent=INDENT)]


def _is_as_it_should_be(item: Condition) -> bool:
    if item.status is ConditionStatus.UNKNOWN:
        return False
    return item.type in EITHER_WAY or (item.status is ConditionStatus.TRUE) == (item.type in SHOULD_BE_TRUE)


def _conditions(agent: AgentDeployment, width: int) -> list[Text]:
    odd = [item for item in status_of(agent).conditions if not _is_as_it_should_be(item)]
    if not odd:
        return []
    lines = [_heading("Conditions that are not as they should be")]
    for item in odd:
        lines.append(Text(f"{' ' * INDENT}{item.type}={item.status}   {printable(item.reason)}"))
        if item.message != status_of(agent).message:
            lines.extend(wrapped(item.message, width=width, indent=INDENT + 4))
    return lines


def _command(agent: AgentDeployment, width: int) -> list[Text]:
    observed = status_of(agent).observed_command
    if observed is None:
        return []
    result = (observed.result.value, RESULT_STYLES[observed.result])
    title = Text.assemble(("Last command: ", "bold"), printable(f"{observed.verb}@{observed.id}"), "   ", result)
    return [title, *wrapped(observed.message, width=width, indent=INDENT)]
