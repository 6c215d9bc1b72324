"""Packages in a virtualenv of their own, installed from a lock with hashes, once for each content of the lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTALL_SECONDS = 300


def installed_apart(lock_name: str) -> Path:
    """Folder of the programs that `locks/<lock_name>.txt` installs."""
    lock = ROOT / "locks" / f"{lock_name}.txt"
    folder = ROOT / "build" / lock_name
    stamp = folder / "lock.txt"
    if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
        _install(lock, folder)
        stamp.write_bytes(lock.read_bytes())
    return folder / "bin"


def _install(lock: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    python = str(folder / "bin" / "python")
    for argv in (
        [*uv, "venv", "-q", str(folder)],
        [*uv, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", str(lock)],
    ):
        done = subprocess.run(
            argv, check=False, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=dict(os.environ)
        )
        assert done.returncode == 0, done.stderr[-1000:]
