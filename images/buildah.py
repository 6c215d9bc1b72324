"""The calls to buildah, on a storage of our own below the cache folder."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.errors import ImagesError
from images.targets import ROOT

_QUERY_SECONDS = 60
_LONG_SECONDS = 1800


def run_long(label: str, argv: Sequence[str]) -> None:
    """Run a command that may take minutes; a line every few seconds goes to the error stream.

    Raises:
        ImagesError: it failed or took more than half an hour; its last lines were printed.
    """
    wrapped = [sys.executable, str(ROOT / "scripts" / "with_progress.py"), label, "--"]
    bounded = ["timeout", str(_LONG_SECONDS), *argv]
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run([*wrapped, *bounded], check=False, env=environment, timeout=_LONG_SECONDS + 30)
    if done.returncode:
        message = f"{label} failed: see above"
        raise ImagesError(message)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where buildah keeps images and layers."""

    root: Path
    run_root: Path
    driver: str

    def argv(self, *words: str) -> list[str]:
        """Return a buildah command on this storage."""
        options = ("--root", str(self.root), "--runroot", str(self.run_root), "--storage-driver", self.driver)
        return ["buildah", *options, *words]

    def names(self) -> list[str]:
        """Return the names of all tagged images, the newest first.

        Raises:
            ImagesError: buildah is missing or cannot use its storage.
        """
        listing = json.loads(_query(self.argv("images", "--json")) or "[]")
        listing.sort(key=lambda image: -int(image.get("created", 0)))
        return [name for image in listing for name in image.get("names") or ()]


def _query(argv: Sequence[str]) -> str:
    try:
        done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=_QUERY_SECONDS)
    except FileNotFoundError as error:
        message = f"{argv[0]} is not installed: run `python -m devcluster packages`"
        raise ImagesError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"`{' '.join(argv)}` took more than {_QUERY_SECONDS} s"
        raise ImagesError(message) from error
    if done.returncode:
        message = f"`{' '.join(argv)}` failed: {done.stderr.strip()}"
        raise ImagesError(message)
    return done.stdout


def open_storage(cache: Path) -> Storage:
    """Return the storage below the cache folder: overlay where the kernel lets us, else vfs, which copies.

    Raises:
        ImagesError: buildah works with neither.
    """
    # What a running build holds must not outlive a reboot.
    run_root = Path("/run/greylag-images") / hashlib.sha256(str(cache).encode()).hexdigest()[:8]
    overlay = Storage(cache / "overlay", run_root, "overlay")
    try:
        _query(overlay.argv("images", "--quiet"))
    except ImagesError as error:
        if "not installed" in str(error):
            raise
        return Storage(cache / "vfs", run_root.with_suffix(".vfs"), "vfs")
    return overlay
