"""Forks runtime processes of a parent that has imported everything once: a real process a pod, in a tenth of the time.

    with runtime_parent() as parent:
        pod = parent.start({"GREYLAG_DOCUMENT": ...}, log)

The parent runs this module; it reads one JSON line a command and answers with one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_runtime.__main__ import main  # what every child needs

ROOT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 20.0


class RuntimeParent:
    """The parent as tests know it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.support.runtime_parent"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, environment: dict[str, str], log: Path) -> int:
        """Start a runtime with exactly this environment; gives its process id."""
        pid: int = self._ask(environment=environment, log=str(log))
        return pid

    def exit_code(self, pid: int) -> int | None:
        """Exit code of a runtime, negative for a signal; None while it runs."""
        code: int | None = self._ask(look=pid)
        return code

    def wait(self, pid: int, seconds: float = STOP_SECONDS) -> int:
        """Exit code of a runtime that is about to end."""
        deadline = time.monotonic() + seconds
        while (code := self.exit_code(pid)) is None:
            assert time.monotonic() < deadline, f"process {pid} has not ended"
            time.sleep(0.02)
        return code

    def kill(self, pid: int) -> None:
        """End a runtime as a lost node does; one that has ended is left alone."""
        if self.exit_code(pid) is None:
            os.kill(pid, signal.SIGKILL)
            self.wait(pid)

    def close(self) -> None:
        """End the parent, and with it every runtime."""
        self._process.communicate(timeout=STOP_SECONDS)

    def _ask(self, **command: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()
        return json.loads(stdout.readline())


@contextlib.contextmanager
def runtime_parent() -> Iterator[RuntimeParent]:
    """A parent for the length of a block."""
    parent = RuntimeParent()
    try:
        yield parent
    finally:
        parent.close()


class _Children:
    """The runtimes, within the parent."""

    def __init__(self) -> None:
        self._codes: dict[int, int | None] = {}

    def fork(self, environment: dict[str, str], log: str) -> int:
        pid = os.fork()
        if pid == 0:
            os._exit(_run(environment, log))
        self._codes[pid] = None
        return pid

    def look(self, pid: int) -> int | None:
        if self._codes[pid] is None:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._codes[pid] = os.waitstatus_to_exitcode(status)
        return self._codes[pid]

    def kill(self) -> None:
        for pid in self._codes:
            if self.look(pid) is None:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _run(environment: dict[str, str], log: str) -> int:
    """Be a runtime, as `python -m agent_runtime` is."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment)
    try:
        return main()
    except BaseException:  # noqa: BLE001 - nothing of the parent may go on in a child
        sys.excepthook(*sys.exc_info())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _serve() -> None:
    children = _Children()
    try:
        for line in sys.stdin:
            command = json.loads(line)
            answer = children.look(command["look"]) if "look" in command else children.fork(**command)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        children.kill()


if __name__ == "__main__":
    _serve()
