"""Long commands that are never silent for long."""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from devcluster.errors import DevclusterError

Reporter = Callable[[str], None]

_REPORT_SECONDS = 8
_TAIL = 3000


def run_watched(
    argv: Sequence[str],
    what: str,
    report: Reporter,
    *,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    """Run a command and report every few seconds that it still runs; its output is shown if it fails.

    Raises:
        DevclusterError: it failed, or took more than `timeout` seconds.
    """
    report(what)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(argv, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            _watch(process, what, report, timeout)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if process.returncode:
            output.seek(0)
            text = output.read().decode(errors="replace")[-_TAIL:]
            message = f"{what}: `{' '.join(argv)}` failed ({process.returncode}):\n{text}"
            raise DevclusterError(message)


def _watch(process: subprocess.Popen[bytes], what: str, report: Reporter, timeout: float) -> None:
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < timeout:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_REPORT_SECONDS)
            return
        report(f"{what}, {elapsed + _REPORT_SECONDS:.0f} s so far")
    message = f"{what} took more than {timeout:.0f} s"
    raise DevclusterError(message)
