"""Bringing images to where pods can use them: archives, the nodes of a devcluster, a registry."""

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devcluster.cluster import Cluster
from devcluster.errors import DevclusterError
from devcluster.images import image_names
from images.build import WORKERS, Order, archive_path, build, cache_folder, locked, references
from images.buildah import Storage, open_storage, run_long
from images.errors import ImagesError


def archives(order: Order) -> dict[str, Path]:
    """Return a docker-archive of each wanted image, built and saved if it is not there.

    Raises:
        ImagesError: a build failed.
    """
    names = references(order)
    missing = {name for name, image in names.items() if order.tag or not archive_path(image).exists()}
    if missing:
        names.update(build(Order(tuple(sorted(missing)), order.tag, order.arguments)))
        _save([names[name] for name in missing])
    return {name: archive_path(image) for name, image in names.items()}


def _save(images: list[str]) -> None:
    cache = cache_folder()
    with locked(cache):
        storage = open_storage(cache)
        with ThreadPoolExecutor(WORKERS) as pool:
            for outcome in [pool.submit(_save_one, storage, image) for image in images]:
                outcome.result()


def _save_one(storage: Storage, image: str) -> None:
    path = archive_path(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    run_long(f"saving {image}", storage.argv("push", "--quiet", image, f"docker-archive:{partial}:{image}"))
    partial.replace(path)


def load(order: Order) -> dict[str, str]:
    """Load the wanted images into the nodes of the devcluster that lack them, and return their references.

    Raises:
        ImagesError: a build failed, or the cluster is not up.
    """
    names = references(order)
    try:
        nodes = Cluster().plan.nodes
        present = set[str].intersection(*(image_names(node) for node in nodes))
    except DevclusterError as error:
        raise ImagesError(str(error)) from error
    missing = tuple(name for name, image in names.items() if order.tag or image not in present)
    if missing:
        files = archives(Order(missing, order.tag, order.arguments))
        for name, file in files.items():
            run_long(f"loading {names[name]}", _devcluster("load", str(file)))
    return names


def _devcluster(*words: str) -> list[str]:
    return [sys.executable, "-m", "devcluster", *words]


def push(order: Order, registry: str) -> dict[str, str]:
    """Push the wanted images to a registry and return the references that its clients use.

    Raises:
        ImagesError: a build failed, or the registry refused.
    """
    names = build(order)
    pushed = {name: f"{registry}/{image.partition('/')[2]}" for name, image in names.items()}
    cache = cache_folder()
    with locked(cache):
        _push_all(open_storage(cache), names, pushed)
    return pushed


def _push_all(storage: Storage, names: Mapping[str, str], pushed: Mapping[str, str]) -> None:
    verify = "false" if os.environ.get("IMAGE_REGISTRY_INSECURE") == "1" else "true"
    for name, image in names.items():
        argv = storage.argv("push", "--quiet", f"--tls-verify={verify}", image, f"docker://{pushed[name]}")
        run_long(f"pushing {pushed[name]}", argv)
