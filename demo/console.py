"""Lines for people, with the elapsed seconds, and never a long silence."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from demo.errors import DemoError

QUIET_SECONDS = 7.0
_TAIL_BYTES = 6000
_STOP_SECONDS = 10


class Console:
    """Prints lines, from any thread."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = self._began
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Print one line."""
        with self._lock:
            self._last = time.monotonic()
            sys.stdout.write(f"[{self._last - self._began:6.1f} s] {text}\n")
            sys.stdout.flush()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def silent_for(self) -> float:
        """Seconds since the last line."""
        return time.monotonic() - self._last

    def run(
        self, label: str, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, seconds: float = 1800
    ) -> str:
        """Run a program and return what it printed on standard output; say every few seconds that it still runs.

        Raises:
            DemoError: it is missing, failed, or took longer than `seconds`.
        """
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, cwd=ROOT
                )
            except FileNotFoundError as error:
                raise DemoError(f"{argv[0]} is not installed") from error
            with _ended(process):
                self._watch(process, label, seconds)
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            if process.returncode:
                raise DemoError(f"{label} failed ({process.returncode}):\n{text[-_TAIL_BYTES:]}")
            output.seek(0)
            return output.read().decode(errors="replace")

    def _watch(self, process: subprocess.Popen[bytes], label: str, seconds: float) -> None:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            try:
                process.wait(QUIET_SECONDS)
            except subprocess.TimeoutExpired:
                self.say(f"  {label}: {time.monotonic() - began:.0f} s so far")
            else:
                return
        raise DemoError(f"{label} took more than {seconds:.0f} s")

    def stream(
        self, label: str, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, seconds: float = 3600
    ) -> str:
        """As `run`, but the program tells its own progress on the error stream, which is shown as it comes."""
        try:
            done = subprocess.run(
                argv,
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=ROOT,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"{label} took more than {seconds:.0f} s") from error
        if done.returncode:
            raise DemoError(f"{label} failed ({done.returncode}): see above")
        return done.stdout

    @contextmanager
    def company(self, describe: Callable[[], str]) -> Iterator[None]:
        """While the block runs, print what `describe` says whenever nothing was printed for a while."""
        stop = threading.Event()

        def speak() -> None:
            while not stop.wait(0.5):
                if self.silent_for >= QUIET_SECONDS:
                    self.say(describe())

        thread = threading.Thread(target=speak, name="company", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(_STOP_SECONDS)


ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_SECONDS)
