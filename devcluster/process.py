"""Starting, recognising and stopping the cluster's long-running programs."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.errors import DevclusterError

MARKER = "GREYLAG_DEVCLUSTER_PROGRAM_OF"
_KEPT_VARIABLES = ("HOME", "LANG", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ")
_POLL_SECONDS = 0.02
_SPAWN_SECONDS = 10
_KILL_SECONDS = 10
_END_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
# setsid and nsenter replace themselves, so the shell's $! is the program's own pid; init adopts it.
_SPAWN = 'log=$1; shift; setsid "$@" </dev/null >>"$log" 2>&1 & echo $!'


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same pid."""

    pid: int
    start_ticks: int
    boot_id: str


def boot_id() -> str:
    """Return the kernel's identity of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def parse_stat(text: str) -> tuple[str, int]:
    """Return state letter and start time in clock ticks from `/proc/PID/stat`.

    The second field is the program's name, which may hold blanks and brackets.
    """
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a living process; None if there is none or only a zombie."""
    try:
        state, ticks = parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else ProcessIdentity(pid, ticks, boot_id())


def is_alive(identity: ProcessIdentity) -> bool:
    """Tell whether exactly this process still runs."""
    return identify(identity.pid) == identity


def read_pid_file(path: Path) -> ProcessIdentity | None:
    """Return the living process that the file names; None if it is gone or the pid is another's."""
    try:
        identity = ProcessIdentity(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return identity if is_alive(identity) else None


def write_pid_file(path: Path, identity: ProcessIdentity) -> None:
    """Record the process, atomically."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(identity)), encoding="utf-8")
    temporary.replace(path)


def spawn(argv: Sequence[str], log: Path, pid_file: Path, cluster: str) -> ProcessIdentity:
    """Start a program in a session of its own, output appended to `log`.

    Its environment bears the cluster's name, so that it is found even if we end before the pid file is there.

    Raises:
        DevclusterError: it ended at once.
    """
    shell = ["sh", "-c", _SPAWN, "sh", str(log), *argv]
    environment = program_environment(os.environ) | {MARKER: cluster}
    answer = subprocess.run(
        shell, check=True, stdout=subprocess.PIPE, text=True, timeout=_SPAWN_SECONDS, env=environment
    )
    identity = identify(int(answer.stdout))
    if identity is None:
        message = f"{Path(argv[0]).name} ended at once: see {log}"
        raise DevclusterError(message)
    write_pid_file(pid_file, identity)
    return identity


def program_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the cluster's programs see: no proxy (none can be reached from inside), no keys of the caller."""
    kept = {key: environment[key] for key in _KEPT_VARIABLES if key in environment}
    return {**kept, "PATH": _search_path(environment)}


def _search_path(environment: Mapping[str, str]) -> str:
    return f"{environment.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"


def send(identity: ProcessIdentity, number: signal.Signals) -> None:
    """Signal exactly this process; nothing happens if it has ended."""
    if is_alive(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)


def stop(identities: Iterable[ProcessIdentity], grace_seconds: float) -> None:
    """End the processes: SIGTERM, and SIGKILL for those still there after the grace time.

    Raises:
        DevclusterError: one did not end even so.
    """
    pending = _signal_all(identities, signal.SIGTERM, grace_seconds) if grace_seconds else list(identities)
    pending = _signal_all(pending, signal.SIGKILL, _KILL_SECONDS)
    if pending:
        message = f"processes {[identity.pid for identity in pending]} do not end, not even by SIGKILL"
        raise DevclusterError(message)


def _signal_all(identities: Iterable[ProcessIdentity], number: signal.Signals, seconds: float) -> list[ProcessIdentity]:
    """Signal them and return those that are still there when the time is over."""
    pending = list(identities)
    for identity in pending:
        send(identity, number)
    wait_until(lambda: not any(map(is_alive, pending)), seconds)
    return [identity for identity in pending if is_alive(identity)]


def wait_until(condition: Callable[[], bool], seconds: float, poll: float = _POLL_SECONDS) -> bool:
    """Poll until the condition holds; False when the time is over first."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll)
    return True


def run(argv: Sequence[str], *, timeout: float = 30, stdin: str | None = None) -> str:
    """Run a short command and return its output; it ends with us, however we end.

    Raises:
        DevclusterError: it is missing, failed or took too long; the text holds what it said.
    """
    environment = {**os.environ, "PATH": _search_path(os.environ)}
    program = shutil.which(argv[0], path=environment["PATH"])
    if program is None:
        message = f"{argv[0]} is not installed: run `python -m devcluster packages`"
        raise DevclusterError(message)
    try:
        done = subprocess.run(
            [*_END_WITH_US, program, *argv[1:]],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        message = f"`{' '.join(argv)}` took more than {timeout} s"
        raise DevclusterError(message) from error
    if done.returncode:
        message = f"`{' '.join(argv)}` failed ({done.returncode}): {(done.stderr or done.stdout).strip()}"
        raise DevclusterError(message)
    return done.stdout
