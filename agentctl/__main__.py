"""Entry point of `agentctl` and `kubectl-agent`."""

from __future__ import annotations

import gc
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentctl.arguments import global_options_first
from agentctl.command_line import CommandLine
from agentctl.commands import app
from agentctl.environment import Environment, Timing
from agentctl.errors import AgentctlError, ExitCode, ExtraMissingError
from agentctl.text.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agentctl.cluster.client import Cluster, Target


def main() -> None:
    """Run the command line of this process and exit."""
    program = "kubectl agent" if Path(sys.argv[0]).name.startswith("kubectl-agent") else "agentctl"
    terminal = Terminal(sys.stdout, sys.stderr)
    sys.exit(run(sys.argv[1:], real_environment(), terminal, program))


def real_environment() -> Environment:
    """The cluster of the kubeconfig, the clock, and the runtime of this installation."""
    return Environment(_connect, lambda: datetime.now(UTC), Timing(time.monotonic, time.sleep), _serve)


def _connect(target: Target) -> Cluster:
    from agentctl.cluster.kubernetes_cluster import KubernetesCluster  # noqa: PLC0415 - half a second that --help need not wait

    return KubernetesCluster(target)


def _serve(file: Path, port: int, terminal: Terminal) -> None:
    _import_runtime()(file, port, terminal)


def _import_runtime() -> Callable[[Path, int, Terminal], None]:
    """What serves an agent: the whole runtime, for which no other command waits; raises ExtraMissingError."""
    # The collector would look again and again through what is imported and stays: a sixth of the time to the start.
    gc.disable()
    try:
        from agentctl.local.run import run_locally  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        raise ExtraMissingError(error.name or "greylag") from None
    finally:
        gc.freeze()
        gc.enable()
    return run_locally


def run(arguments: Sequence[str], environment: Environment, terminal: Terminal, program: str = "agentctl") -> int:
    """Run one command line; its exit code."""

    def start(target: Target) -> CommandLine:
        return CommandLine(target, environment, terminal, program)

    try:
        app(args=global_options_first(arguments), prog_name=program, obj=start)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.ERROR
    except AgentctlError as error:
        terminal.note(f"error: {error}")
        return error.exit_code
    return ExitCode.DONE


if __name__ == "__main__":
    main()
