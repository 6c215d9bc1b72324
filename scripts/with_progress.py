"""Run a quiet command and say every few seconds that it still runs.

    python3 scripts/with_progress.py LABEL -- COMMAND [ARGUMENT...]

The command's output is kept back; its last lines are shown if it fails. Standard library only: it runs before the
virtualenv exists.
"""

import subprocess
import sys
import tempfile
import time
from typing import IO

EVERY_SECONDS = 8
TAIL_BYTES = 12_000


def say(text: str) -> None:
    """Print a line to the error stream at once: standard output belongs to what the caller prints."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def wait(process: "subprocess.Popen[bytes]", label: str) -> int:
    """Wait for the process, with a line every few seconds; stop it if we are interrupted."""
    began = time.monotonic()
    try:
        while True:
            try:
                return process.wait(EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"  {label}: {time.monotonic() - began:.0f} s")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def tail(log: "IO[bytes]") -> str:
    """Return the end of what the command said."""
    log.seek(0, 2)
    log.seek(max(0, log.tell() - TAIL_BYTES))
    return log.read().decode(errors="replace").strip()


def main(words: "list[str]") -> int:
    """Run the command after `--` and return its exit code."""
    if len(words) < 3 or words[1] != "--":  # noqa: PLR2004
        say(str(__doc__))
        return 2
    label, command = words[0], words[2:]
    began = time.monotonic()
    say(f"{label} ...")
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
            code = wait(process, label)
        if code:
            say(f"{label}: failed ({code})\n{tail(log)}")
        else:
            say(f"{label}: done in {time.monotonic() - began:.1f} s")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
