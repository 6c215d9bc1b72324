"""`agentctl task`: tasks of an agent, and the calls of tools that wait for a person."""

from __future__ import annotations

import json
import os
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from agentctl.errors import ApiError
from agentctl.rollout.guidance import Invocation
from agentctl.tasks.agent_http import TOKEN_VARIABLE, AgentHttp
from agentctl.tasks.page import task_page, task_table
from agentctl.tasks.watch import watch_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from agentctl.command_line import CommandLine
    from agentctl.document import Document
    from agentctl.text.terminal import Terminal

DEFAULT_URL = "http://127.0.0.1:8080"
GROUP_HELP = """Give an agent tasks, follow them, and decide about the calls of tools that wait for a person.

They go to the agent itself, not to a cluster: by default to the one that `agentctl run` serves.
In a cluster forward a port to it first: kubectl port-forward service/support 8080:80

\b
Example:
  agentctl task start "Refund order 17" --watch
  agentctl task list --status WaitingForApproval
  agentctl task approve 0123456789abcdefghijklmn
"""
GROUP_EPILOG = f"Where access is on, the variable {TOKEN_VARIABLE} holds the API key or the token."

SETTINGS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""Ids of tasks may begin with a dash, and must not be taken for options of one letter."""

task_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Task = Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")]
Call = Annotated[str | None, typer.Argument(metavar="CALL", help="Id of the call; not needed if only one waits.")]
Url = Annotated[str, typer.Option("--url", envvar="AGENTCTL_URL", help="URL of the agent.")]
User = Annotated[str | None, typer.Option("--user", help="Who you are, where access is off.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")]
AsJson = Annotated[bool, typer.Option("--json", help="The document itself.")]
Watch = Annotated[bool, typer.Option("--watch", help="Follow it to its end.")]


def _agent(url: str, user: str | None) -> AgentHttp:
    return AgentHttp(url, os.environ.get(TOKEN_VARIABLE) or None, user)


def _invocation(line: CommandLine, url: str, user: str | None) -> Invocation:
    """How to call this group again for the same agent and user."""
    flags = (("--url", None if url == DEFAULT_URL else url), ("--user", user))
    again = "".join(f" {flag} {shlex.quote(value)}" for flag, value in flags if value is not None)
    return Invocation(f"{line.program} task", again)


@task_app.command("start", context_settings=SETTINGS)
def start(
    context: typer.Context,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What the agent is to do.")],
    conversation: Annotated[str | None, typer.Option("--conversation", help="Conversation to continue.")] = None,
    url: Url = DEFAULT_URL,
    user: User = None,
    *,
    watch: Watch = False,
) -> None:
    """Give the agent a task; prints its id."""
    line: CommandLine = context.obj
    agent = _agent(url, user)
    task = str(agent.start(query, conversation)["task_id"])
    line.terminal.show(task)
    if watch:
        watch_task(agent, task, _invocation(line, url, user), line.terminal, line.environment.timing)


@task_app.command("list", context_settings=SETTINGS)
def list_tasks(
    context: typer.Context,
    status: Annotated[str | None, typer.Option("--status", help="Only those in one state.")] = None,
    url: Url = DEFAULT_URL,
    user: User = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List your tasks that have not ended, the newest first, with the tools that wait for a person."""
    line: CommandLine = context.obj
    tasks = _agent(url, user).unended(status)
    line.terminal.show(json.dumps(tasks, indent=2) if as_json else task_table(tasks, line.environment.now()))


@task_app.command("get", context_settings=SETTINGS)
def get(
    context: typer.Context,
    task: Task,
    url: Url = DEFAULT_URL,
    user: User = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a task: how far it is, what it waits for, its answer."""
    line: CommandLine = context.obj
    document = _agent(url, user).get(task)
    if as_json:
        line.terminal.show(json.dumps(document, indent=2))
    else:
        line.terminal.show(task_page(document, _invocation(line, url, user)))


@task_app.command("watch", context_settings=SETTINGS)
def watch(context: typer.Context, task: Task, url: Url = DEFAULT_URL, user: User = None) -> None:
    """Follow a task to its end; exit code 1 if it ends without an answer."""
    line: CommandLine = context.obj
    watch_task(_agent(url, user), task, _invocation(line, url, user), line.terminal, line.environment.timing)


@task_app.command("cancel", context_settings=SETTINGS)
def cancel(context: typer.Context, task: Task, url: Url = DEFAULT_URL, user: User = None) -> None:
    """End a task."""
    line: CommandLine = context.obj
    document = _agent(url, user).cancel(task)
    line.terminal.show(f"task {task}: {'asked to end' if document['ended'] is None else document['status']}")


def _decision_command(decision: str) -> Callable[..., None]:
    def command(
        context: typer.Context,
        task: Task,
        call: Call = None,
        reason: Reason = "",
        url: Url = DEFAULT_URL,
        user: User = None,
    ) -> None:
        line: CommandLine = context.obj
        agent = _agent(url, user)
        chosen = call or _only_call(agent.get(task))
        document = agent.decide(task, chosen, decision, reason)
        _tell(line.terminal, document, chosen, decision)

    return command


for _decision, _help in (
    ("approve", "Let a call of a tool run that waits for a person."),
    ("reject", "Let a call of a tool not run; the model is told so."),
):
    task_app.command(_decision, help=_help, context_settings=SETTINGS)(_decision_command(_decision))


def _only_call(document: Document) -> str:
    waiting = [str(call["id"]) for call in document["waiting_for"]]
    if len(waiting) == 1:
        return waiting[0]
    which = f"{len(waiting)} calls wait: {', '.join(waiting)}; name one" if waiting else "no call waits for a decision"
    raise ApiError(f"task {document['task_id']} is {document['status']}: {which}")


def _tell(terminal: Terminal, document: Document, call: str, decision: str) -> None:
    left = len(document["waiting_for"])
    what = f"{left} more to decide" if left else "it goes on"
    terminal.show(f"task {document['task_id']}: {call} {'approved' if decision == 'approve' else 'rejected'}, {what}")
