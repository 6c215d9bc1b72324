"""The commands: what is typed, handed on to what does it."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent_api.meta import API_VERSION
from agent_api.v1alpha1.status import CommandResult
from agentctl.arguments import parse_timeout
from agentctl.cluster.client import Target
from agentctl.errors import NotObservedError, RefusedError
from agentctl.rollout.guidance import next_commands
from agentctl.rollout.reading import Output, Selection
from agentctl.rollout.situation import parse_agent
from agentctl.rollout.verbs import Command, Verb, new_command, wait_until_observed
from agentctl.tasks.commands import GROUP_EPILOG, GROUP_HELP, task_app

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from agent_api.v1alpha1.status import ObservedCommand
    from agentctl.cluster.client import Cluster
    from agentctl.command_line import CommandLine
    from agentctl.rollout.guidance import Invocation

GLOBAL_HELP = "Options of every command, before or behind it: -n NAMESPACE, --context NAME, --kubeconfig FILE."
GET_HELP = """Show all agents as a table, or everything about one.

\b
Examples:
  agentctl get                    the agents of this namespace
  agentctl get -A -o wide         of all namespaces, with model, URL and message
  agentctl get support            one: steps, traffic, analysis, what to type next
  agentctl get support --watch    the same, again on every change
  agentctl get support -o yaml    the object itself
"""
HISTORY_HELP = """List the recorded revisions of an agent.

Newest first, with what each is to the traffic, its model and its age.

\b
Example:
  agentctl history support
"""
RUN_HELP = """Serve one agent on this machine, without a cluster.

The same runtime and the same guards as in a pod; its state is kept in memory, so it is for development only.
ConfigMaps and Secrets that the agent names are read from the same file. A model's key that is not there is taken
from OPENAI_API_KEY.

\b
Examples:
  agentctl run -f examples/05-local/agent.yaml
  agentctl run -f - < agent.yaml
"""
VERSION_HELP = """Print the version of program and API.

\b
Example:
  agentctl version
"""
VERB_HELP = {
    Verb.PROMOTE: "Go on from the present step of a rollout.\n\n"
    "Ends a pause, or goes past an analysis without a verdict.",
    Verb.PROMOTE_FULL: "Skip all remaining steps of a rollout.\n\n"
    "The canary becomes stable as soon as it is available.",
    Verb.ABORT: "Take the canary back.\n\n"
    "All traffic goes to stable at once; the revision is not tried again by itself.",
    Verb.RETRY: "Try a rejected revision again, unchanged.",
    Verb.UNDO: "Go back to the revision before this one.",
}
EXIT_HELP = "Exit codes: 0 done, 1 error, 3 refused by the operator, 4 not answered within --timeout."

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the AgentDeployment.")]
OptionalName = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Name of one AgentDeployment; without it, a table of all."),
]
Timeout = Annotated[
    str,
    typer.Option("--timeout", metavar="LENGTH", help="How long to wait for the operator, such as 90s or 2m."),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the operator's answer.")]


@app.callback(epilog="Try `agentctl get`, then `agentctl get NAME`.")
def connect(
    context: typer.Context,
    namespace: Annotated[
        str | None,
        typer.Option("-n", "--namespace", help="Namespace; default: that of the kubeconfig's context."),
    ] = None,
    kube_context: Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig.")] = None,
    kubeconfig: Annotated[
        str | None, typer.Option("--kubeconfig", help="File; default: $KUBECONFIG or ~/.kube/config.")
    ] = None,
) -> None:
    """Agents in production: what serves, what is being rolled out, why it stands still, what to type next."""
    start: Callable[[Target], CommandLine] = context.obj
    context.obj = start(Target(kubeconfig, kube_context, namespace))


@app.command(help=GET_HELP, epilog=GLOBAL_HELP)
def get(
    context: typer.Context,
    name: OptionalName = None,
    *,
    all_namespaces: Annotated[bool, typer.Option("-A", "--all-namespaces", help="All namespaces.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="Format.")] = Output.TABLE,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Show it again on every change, until Ctrl-C.")] = False,
) -> None:
    """Show agents."""
    line: CommandLine = context.obj
    selection = Selection(name, all_namespaces, output)
    selection.check()
    reader = line.reader()
    if watch:
        reader.watch(selection, line.terminal)
    else:
        line.terminal.show(reader.text(reader.read(selection), selection))


@app.command(help=HISTORY_HELP, epilog=GLOBAL_HELP)
def history(context: typer.Context, name: Name) -> None:
    """List revisions."""
    line: CommandLine = context.obj
    line.terminal.show(line.reader().history(name))


def _verb_command(verb: Verb) -> Callable[..., None]:
    def command(context: typer.Context, name: Name, timeout: Timeout = "60s", *, no_wait: NoWait = False) -> None:
        _order(context.obj, verb, name, None if no_wait else timeout)

    return command


for _verb, _help in VERB_HELP.items():
    _example = f"\b\nExample:\n  agentctl {_verb} support"
    app.command(_verb.value, help=f"{_help}\n\n{_example}", epilog=f"{EXIT_HELP} {GLOBAL_HELP}")(_verb_command(_verb))


@app.command("run", help=RUN_HELP)
def run_agent(
    context: typer.Context,
    file: Annotated[
        Path, typer.Option("-f", "--filename", help="YAML file with the AgentDeployment; - is standard input.")
    ],
    port: Annotated[int, typer.Option("-p", "--port", min=1, max=65535, help="Port on loopback.")] = 8080,
) -> None:
    """Serve an agent on this machine."""
    line: CommandLine = context.obj
    line.environment.serve(file, port, line.terminal)


app.add_typer(task_app, name="task", help=GROUP_HELP, epilog=GROUP_EPILOG)


@app.command(help=VERSION_HELP)
def version(context: typer.Context) -> None:
    """Print versions."""
    line: CommandLine = context.obj
    line.terminal.show(f"agentctl {installed_version('greylag')}, {API_VERSION}")


def _order(line: CommandLine, verb: Verb, name: str, timeout: str | None) -> None:
    """Send a command; wait for its answer unless `timeout` is None."""
    limit = None if timeout is None else _seconds(timeout)
    cluster = line.environment.connect(line.target)
    command = new_command(verb, line.environment.now())
    cluster.send_command(name, str(command))
    if limit is None:
        line.terminal.show(f"{name}: sent {command}; not waiting for the operator")
        return
    answer, agent = _wait(line, cluster, name, command, limit)
    if answer.result is not CommandResult.DONE:
        raise RefusedError(_refusal(line.invocation(), name, answer, agent))
    line.terminal.show(f"{name}: {verb} done: {answer.message}")


def _seconds(timeout: str) -> float:
    try:
        return parse_timeout(timeout)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--timeout") from error


def _wait(
    line: CommandLine, cluster: Cluster, name: str, command: Command, limit: float
) -> tuple[ObservedCommand, Mapping[str, Any]]:
    try:
        return wait_until_observed(cluster, name, command, timeout=limit, timing=line.environment.timing)
    except NotObservedError as error:
        raise NotObservedError(f"{error} Look: {line.invocation().find_operator()}") from error


def _refusal(call: Invocation, name: str, answer: ObservedCommand, agent: Mapping[str, Any]) -> str:
    suggestions = next_commands(parse_agent(agent), call)
    what = "; ".join(f"`{item.command}` ({item.effect})" for item in suggestions) or f"`{call.verb('get', name)}`"
    return f"{name}: {answer.verb} {answer.result.lower()}: {answer.message}. To type: {what}"
