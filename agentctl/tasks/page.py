"""A task and its events in words, from their documents; no input or output."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from agentctl.text.layout import MISSING, age, columns, joined, printable

if TYPE_CHECKING:
    from agentctl.document import Document
    from agentctl.rollout.guidance import Invocation
    from agentctl.tasks.agent_http import TaskEvent

STATE_STYLES = {"Succeeded": "green", "Failed": "red", "WaitingForApproval": "yellow"}
_MAX_ARGUMENTS = 400


def task_table(tasks: Sequence[Document], now: datetime) -> Text:
    """Tasks that have not ended, a line each."""
    if not tasks:
        return Text("There are no tasks of yours that have not ended.")
    head = ("TASK", "STATE", "AGE", "WAITS FOR")
    rows = [
        (
            printable(str(task["task_id"])),
            Text(printable(str(task["status"])), STATE_STYLES.get(str(task["status"]), "")),
            age(datetime.fromtimestamp(task["created"], UTC), now),
            ", ".join(printable(str(call["name"])) for call in task["waiting_for"]) or MISSING,
        )
        for task in tasks
    ]
    return joined(columns([head, *rows]))


def task_page(task: Document, call: Invocation) -> Text:
    """Everything about one task, with what can be typed next."""
    state = printable(str(task["status"]))
    head = Text.assemble(f"{printable(task['task_id'])}   ", (state, STATE_STYLES.get(state, "")))
    counts = (
        f"answers of the model {task['iterations']}, calls of tools {task['tool_calls']}, attempt {task['attempt']}"
    )
    lines = [head, Text(f"  {printable(task['revision'])}: {counts}")]
    return joined([*lines, *_waiting(task, call), *_decisions(task), *_end(task)])


def _waiting(task: Document, invocation: Invocation) -> list[Text]:
    calls = task["waiting_for"]
    if not calls:
        return []
    rows = [(call["id"], call["name"], _short(call["arguments"])) for call in calls]
    typed = [line for call in calls for line in decision_lines(task["task_id"], call["id"], invocation)]
    return [Text("\nWaits for a person"), *columns(rows, indent=2), Text("\nWhat to type next"), *map(Text, typed)]


def decision_lines(task: str, call: str, invocation: Invocation) -> list[str]:
    """What can be typed about a call that waits, a line each."""
    both = f"{_quoted(task)} {_quoted(call)}"
    return [f"  {invocation.verb(verb, both)}" for verb in ("approve", "reject")]


def _decisions(task: Document) -> list[Text]:
    rows = [
        (made["call"], "approved" if made["approved"] else "rejected", f"by {made['who']}", made["reason"])
        for made in task["decisions"]
    ]
    return [Text("\nDecisions"), *columns(rows, indent=2)] if rows else []


def _end(task: Document) -> list[Text]:
    if task["result"] is not None:
        return [Text("\nAnswer"), Text(answer_of(task["result"]))]
    if task["problem"] is not None:
        return [Text("\nProblem"), Text(f"  {problem_line(task['problem'])}")]
    return []


def answer_of(result: Document) -> str:
    """The answer in the result of a task, fit for a terminal."""
    return visible(str(result.get("answer", "")))


def problem_line(problem: Document) -> str:
    """What a problem document says, on one line."""
    return printable(f"{problem.get('title', 'Problem')}: {problem.get('detail', '')}")


def event_line(event: TaskEvent) -> str:
    """What happened, on one line; an empty text for what need not be shown, and for deltas, which are no lines."""
    write = _LINES.get(event.type)
    return "" if write is None else write(event.document)


def _decided(document: Document) -> str:
    return f"{_word(document, 'id')}: {'approved' if document.get('approved') else 'rejected'}"


def _ended(document: Document) -> str:
    return f"{_word(document, 'name')}: {_word(document, 'outcome')} after {_word(document, 'milliseconds')} ms"


def _call(document: Document) -> str:
    return f"{_word(document, 'name')} {_short(document.get('arguments'))}"


def _word(document: Document, name: str) -> str:
    return printable(str(document.get(name, "")))


def _short(arguments: object) -> str:
    text = printable(json.dumps(arguments, ensure_ascii=False))
    return text if len(text) <= _MAX_ARGUMENTS else f"{text[:_MAX_ARGUMENTS]}..."


def _quoted(text: str) -> str:
    """A word as a shell reads it."""
    return shlex.quote(printable(text))


def visible(text: str) -> str:
    """Text with its lines, without the characters by which it could rewrite the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text)


_LINES: dict[str, Callable[[Document], str]] = {
    "run.started": lambda document: f"started on {_word(document, 'revision')}",
    "tool.call": lambda document: f"calls {_call(document)}",
    "tool.result": _ended,
    "approval.required": lambda document: f"waits for a decision about {_word(document, 'id')}: {_call(document)}",
    "approval.decided": _decided,
    "error": lambda document: f"failed: {problem_line(document.get('problem') or {})}",
    "cancelled": lambda _document: "cancelled",
    "completed": lambda _document: "completed",
    "events.lost": lambda document: (
        f"events {_word(document, 'first')} to {_word(document, 'last')} are not kept any more"
    ),
}
