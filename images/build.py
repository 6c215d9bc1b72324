"""Building what is not there yet, several targets at a time."""

import contextlib
import fcntl
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from devcluster.toolchain import cache_root
from images.base import ensure_base
from images.buildah import Storage, open_storage, run_long
from images.errors import ImagesError
from images.machine import mounts
from images.targets import ROOT, TARGETS, Target, content_tag, dependencies_tag, image_name, stage

WORKERS = 2
_KEPT = 5
_LOCK_SECONDS = 1800
_LOCK_POLL_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Order:
    """Which images are wanted, and how they differ from the ordinary ones."""

    targets: tuple[str, ...] = tuple(TARGETS)
    tag: str = ""
    arguments: tuple[tuple[str, str], ...] = ()


def cache_folder() -> Path:
    """Folder of archives, layers and wheels; may be deleted at any time."""
    return cache_root() / "images"


def references(order: Order) -> dict[str, str]:
    """Return the reference of each wanted image without building anything.

    Raises:
        ImagesError: an input of an image is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        return {name: image_name(name, _staged_tag(name, order, Path(folder) / name)) for name in order.targets}


def _staged_tag(name: str, order: Order, context: Path) -> str:
    stage(TARGETS[name], ROOT, context)
    return order.tag or content_tag(context, TARGETS[name].base.key, dict(order.arguments))


def build(order: Order) -> dict[str, str]:
    """Build the wanted images that are not in the storage and return their references.

    Raises:
        ImagesError: an input is missing, or a build failed.
    """
    cache = cache_folder()
    with locked(cache), tempfile.TemporaryDirectory(dir=cache) as folder:
        storage = open_storage(cache)
        names = {name: image_name(name, _staged_tag(name, order, Path(folder) / name)) for name in order.targets}
        present = storage.names()
        # A tag given by hand says nothing of the content: build again, from cached layers.
        missing = [name for name, image in names.items() if order.tag or image not in present]
        if missing:
            _build_all(storage, order, {name: names[name] for name in missing}, Path(folder))
            _prune(storage, names.values())
        return names


def _build_all(storage: Storage, order: Order, images: Mapping[str, str], folder: Path) -> None:
    options = ["--layers", "--pull=never", "--network", "host"]
    for base in dict.fromkeys(TARGETS[name].base for name in images):
        options += ["--build-arg", f"{base.argument}={ensure_base(base, storage, cache_root() / 'base')}"]
    for volume in mounts(folder):
        options += ["--volume", volume]
    extra = [word for key, value in order.arguments for word in ("--build-arg", f"{key}={value}")]

    def build_one_after_another(names: Sequence[str]) -> None:
        for name in names:
            context = folder / name
            bud = storage.argv("bud", *options)
            ready = _ready_dependencies(storage, bud, TARGETS[name], context)
            argv = [*bud, *ready, *extra, "--target", name, "--tag", images[name], str(context)]
            run_long(f"building {images[name]}", argv)

    with ThreadPoolExecutor(WORKERS) as pool:
        for outcome in [pool.submit(build_one_after_another, names) for names in _chains(images)]:
            outcome.result()


def _ready_dependencies(storage: Storage, bud: Sequence[str], target: Target, context: Path) -> list[str]:
    """Build a target's dependencies and name their image: left to itself, buildah reads all of it at each build."""
    stage_name = target.dependencies
    if not stage_name:
        return []
    image = image_name(stage_name, dependencies_tag(context, target.base.key))
    if image not in storage.names():
        run_long(f"building {image}", [*bud, "--target", stage_name, "--tag", image, str(context)])
    return ["--build-context", f"{stage_name}=container-image://{image}"]


def _chains(images: Mapping[str, str]) -> list[list[str]]:
    """Group the targets so that those which share a layer of dependencies do not build it twice."""
    shared = [name for name in ("runtime", "modelserver") if name in images]
    return [chain for chain in (shared, *([name] for name in images if name not in shared)) if chain]


def _prune(storage: Storage, wanted: Collection[str]) -> None:
    """Forget all but the newest images of each target; their archives go with them."""
    names = storage.names()
    for target in sorted({*TARGETS, *(target.dependencies for target in TARGETS.values() if target.dependencies)}):
        stem = f"/greylag-{target}:"
        for name in [name for name in names if stem in name][_KEPT:]:
            if name not in wanted:
                run_long(f"removing {name}", storage.argv("rmi", name))
                archive_path(name).unlink(missing_ok=True)


def archive_path(image: str) -> Path:
    """Return where the archive of an image lies, if it was saved."""
    return cache_folder() / "archives" / f"{image.rpartition('/')[2].replace(':', '-')}.tar"


@contextlib.contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Keep other clones out: they share the storage.

    Raises:
        ImagesError: another build holds it for half an hour.
    """
    cache.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _LOCK_SECONDS
    with (cache / "lock").open("w", encoding="ascii") as file:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > deadline:
                message = f"another build holds {cache / 'lock'} for half an hour"
                raise ImagesError(message)
            sys.stderr.write("another clone is building images; waiting for it\n")
            time.sleep(_LOCK_POLL_SECONDS)
        yield
