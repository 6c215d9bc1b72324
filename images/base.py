"""Makes the base images that are not there yet."""

import tempfile
from pathlib import Path

from images.buildah import Storage, run_long
from images.recipes import SUITE, Base

_IMPORT = "FROM scratch\nADD base.tar /\n"


def ensure_base(base: Base, storage: Storage, cache: Path) -> str:
    """Return the name of a base image, made if it is not there.

    Raises:
        ImagesError: mmdebstrap or buildah failed.
    """
    if base.name not in storage.names():
        _import(base, storage, ensure_archive(base, cache))
    return base.name


def ensure_archive(base: Base, cache: Path) -> Path:
    """Return a base image's file tree as a tar, fetched once per recipe.

    Raises:
        ImagesError: mmdebstrap failed.
    """
    archive = cache / f"{base.key}.tar"
    if not archive.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = cache / f"{base.key}.partial.tar"
        run_long(f"base image from Debian {SUITE} with {base.packages[0]}", [*base.recipe, str(partial)])
        partial.replace(archive)
    return archive


def _import(base: Base, storage: Storage, archive: Path) -> None:
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        (Path(folder) / "base.tar").hardlink_to(archive)
        (Path(folder) / "Dockerfile").write_text(_IMPORT, encoding="ascii")
        argv = storage.argv("bud", "--layers=false", "--tag", base.name, folder)
        run_long(f"importing {base.name}", argv)
