"""The machine, the commit and the load that figures belong to."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.outcome import Run
from demo.console import ROOT
from demo.errors import DemoError

RESULTS = ROOT / "benchmarks" / "results.md"
_WRITTEN = (":!benchmarks/results.md", ":!benchmarks/*.svg")
_GIT_SECONDS = 30
_KB_PER_GB = 1 << 20


def present_run() -> Run:
    """This checkout on this machine, now.

    Raises:
        DemoError: the checkout has no commit.
    """
    commit = _git("rev-parse", "--short=12", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *_WRITTEN)
    return Run(
        commit=f"{commit} and changes" if changes else commit,
        machine=f"{os.cpu_count()} cores, {_memory_gb():.0f} GB",
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def load() -> float:
    """Load average over one minute."""
    return round(os.getloadavg()[0], 2)


def _memory_gb() -> float:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("MemTotal:")).split()[1]) / _KB_PER_GB


def _git(*words: str) -> str:
    argv = ["git", *words]
    try:
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_GIT_SECONDS, cwd=ROOT)
    except (OSError, subprocess.SubprocessError) as error:
        raise DemoError(f"git {words[0]}: {error}") from error
    return done.stdout.strip()
