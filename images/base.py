"""The base image: a Debian 12 with Python, put together from Debian packages with mmdebstrap."""

import hashlib
import tempfile
from pathlib import Path

from images.buildah import Storage, run_long

_SUITE = "bookworm"
_PACKAGES = ("python3", "python3-venv", "ca-certificates")
_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")
RECIPE = (
    "mmdebstrap",
    "--quiet",
    "--variant=essential",
    f"--include={','.join(_PACKAGES)}",
    *(f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    '--customize-hook=rm -f "$1/etc/resolv.conf" "$1/etc/hostname"',
    _SUITE,
)
KEY = hashlib.sha256("\0".join(RECIPE).encode()).hexdigest()[:12]
NAME = f"localhost/greylag-base:{KEY}"
_IMPORT = "FROM scratch\nADD base.tar /\n"


def ensure_base(storage: Storage, cache: Path) -> str:
    """Return the name of the base image, made if it is not there.

    Raises:
        ImagesError: mmdebstrap or buildah failed.
    """
    if NAME not in storage.names():
        _import(storage, ensure_archive(cache))
    return NAME


def ensure_archive(cache: Path) -> Path:
    """Return the base image's file tree as a tar, fetched once per recipe.

    Raises:
        ImagesError: mmdebstrap failed.
    """
    archive = cache / f"{KEY}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f"{KEY}.partial.tar"
        run_long(f"base image from Debian {_SUITE}", [*RECIPE, str(partial)])
        partial.replace(archive)
    return archive


def _import(storage: Storage, archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        (Path(folder) / "base.tar").hardlink_to(archive)
        (Path(folder) / "Dockerfile").write_text(_IMPORT, encoding="ascii")
        argv = storage.argv("bud", "--layers=false", "--tag", NAME, folder)
        run_long("importing the base image", argv)
