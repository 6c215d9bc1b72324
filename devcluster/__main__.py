"""Command line: ``python -m devcluster COMMAND``."""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence

from devcluster.cluster import Cluster
from devcluster.errors import DevclusterError
from devcluster.packages import install_packages
from devcluster.plan import DEFAULT_NAME
from devcluster.toolchain import ensure_built

_BEGAN = time.monotonic()


def report(text: str) -> None:
    """Print a line with the elapsed seconds."""
    sys.stderr.write(f"[{time.monotonic() - _BEGAN:6.1f} s] {text}\n")
    sys.stderr.flush()


def say(text: str) -> None:
    """Print a line that other programs may read."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _packages(_: argparse.Namespace) -> int:
    install_packages(report)
    return 0


def _build(_: argparse.Namespace) -> int:
    say(str(ensure_built(report)))
    return 0


def _up(options: argparse.Namespace) -> int:
    Cluster(options.name, report).up(options.nodes)
    return 0


def _down(options: argparse.Namespace) -> int:
    Cluster(options.name, report).down()
    return 0


def _status(options: argparse.Namespace) -> int:
    status = Cluster(options.name, report).status()
    for name, pid in status.programs.items():
        say(f"{name:26} {f'running, pid {pid}' if pid else 'not running'}")
    say(f"{'API server':26} {'ready' if status.api_ready else 'not ready'}")
    for node in sorted(status.nodes_wanted):
        say(f"{node:26} {'ready' if node in status.nodes_ready else 'not ready'}")
    if not status.healthy:
        say("way out: `python -m devcluster up` starts what is missing")
    return 0 if status.healthy else 1


def _kubectl(options: argparse.Namespace) -> int:
    cluster = Cluster(options.name, report)
    program = str(cluster.bin_dir / "kubectl")
    words = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    os.execve(program, [program, *words], {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)})


def _kubeconfig(options: argparse.Namespace) -> int:
    say(str(Cluster(options.name, report).kubeconfig))
    return 0


def _env(options: argparse.Namespace) -> int:
    cluster = Cluster(options.name, report)
    say(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    say(f'export NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}{",".join(cluster.plan.addresses)}"')
    say(f'export PATH={shlex.quote(str(cluster.bin_dir))}:"$PATH"')
    return 0


def _load(options: argparse.Namespace) -> int:
    for name in Cluster(options.name, report).load(*options.archives):
        say(name)
    return 0


def _stop_api(options: argparse.Namespace) -> int:
    Cluster(options.name, report).stop_api()
    return 0


def _start_api(options: argparse.Namespace) -> int:
    Cluster(options.name, report).start_api()
    return 0


_COMMANDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "packages": (_packages, "install the Debian packages that are missing"),
    "build": (_build, "compile the programs, once for all clones"),
    "up": (_up, "start the cluster, or what of it is missing"),
    "down": (_down, "remove the cluster and all its traces"),
    "status": (_status, "show what runs"),
    "kubectl": (_kubectl, "run kubectl: `kubectl -- get pods`"),
    "kubeconfig": (_kubeconfig, "print the path of the kubeconfig"),
    "env": (_env, "print shell lines that set KUBECONFIG and PATH"),
    "load": (_load, "load image archives into the nodes"),
    "stop-api": (_stop_api, "stop the API server alone"),
    "start-api": (_start_api, "start the API server again"),
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="devcluster", description="A real Kubernetes in network namespaces.")
    commands = top.add_subparsers(dest="command", required=True)
    for name, (_, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--name", default=os.environ.get("CLUSTER_NAME") or DEFAULT_NAME)
        if name == "up":
            command.add_argument("--nodes", type=int, default=os.environ.get("NODES") or "1")
        if name == "load":
            command.add_argument("archives", nargs="+")
        if name == "kubectl":
            command.add_argument("arguments", nargs=argparse.REMAINDER)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(words)
    try:
        return _COMMANDS[options.command][0](options)
    except DevclusterError as error:
        report(f"error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
