"""Entry point of `agentctl` and `kubectl-agent`."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from agentctl.arguments import global_options_first
from agentctl.client import Environment
from agentctl.commands import CommandLine, app
from agentctl.errors import AgentctlError, ExitCode
from agentctl.terminal import Terminal
from agentctl.verbs import Timing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agentctl.client import Cluster, Target


def main() -> None:
    """Run the command line of this process and exit."""
    program = "kubectl agent" if Path(sys.argv[0]).name.startswith("kubectl-agent") else "agentctl"
    terminal = Terminal(sys.stdout, sys.stderr)
    sys.exit(run(sys.argv[1:], real_environment(), terminal, program))


def real_environment() -> Environment:
    """The cluster of the kubeconfig, and the clock."""
    return Environment(_connect, lambda: datetime.now(UTC), Timing(time.monotonic, time.sleep))


def _connect(target: Target) -> Cluster:
    from agentctl.kubernetes_cluster import KubernetesCluster  # noqa: PLC0415 - half a second that --help need not wait

    return KubernetesCluster(target)


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
