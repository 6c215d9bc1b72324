"""Packages of others with attacks, secrets and honest texts: installed apart, once for each lock, and only read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_FOLDER = _HERE.parents[2] / "build" / "attacks"
_LOCKS = (_HERE / "requirements.txt", _HERE / "sources.txt")
_INSTALL_SECONDS = 600


@dataclass(frozen=True, slots=True)
class ForeignPackages:
    """Where the packages lie."""

    python: Path
    """Interpreter that can import the installed ones."""
    installed: Path
    """Folder of the installed ones."""
    sources: Path
    """Folder with one folder for each that was only unpacked."""


def foreign_packages() -> ForeignPackages:
    """Install and unpack what the locks name, unless it is there."""
    python = _FOLDER / "bin" / "python"
    stamp = _FOLDER / "locks.txt"
    locks = b"".join(lock.read_bytes() for lock in _LOCKS)
    if not stamp.exists() or stamp.read_bytes() != locks:
        shutil.rmtree(_FOLDER, ignore_errors=True)
        _install(python)
        stamp.write_bytes(locks)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return ForeignPackages(python, _FOLDER / "lib" / version / "site-packages", _FOLDER / "sources")


def _install(python: Path) -> None:
    wheels, sources = _LOCKS
    uv = [sys.executable, "-m", "uv"]
    hashed = ["-q", "--no-deps", "--require-hashes"]
    sdists = _FOLDER / "sdists"
    for argv in (
        [*uv, "venv", "-q", "--python", sys.executable, str(_FOLDER)],
        [*uv, "pip", "install", *hashed, "--only-binary", ":all:", "--python", str(python), "-r", str(wheels)],
        [
            *(str(python), "-m", "pip", "download", *hashed, "--no-binary", ":all:", "--no-build-isolation"),
            *("--disable-pip-version-check", "-d", str(sdists), "-r", str(sources)),
        ],
    ):
        subprocess.run(argv, check=True, timeout=_INSTALL_SECONDS)
    for archive in sdists.iterdir():
        with tarfile.open(archive) as packed:
            packed.extractall(_FOLDER / "sources", filter="data")
