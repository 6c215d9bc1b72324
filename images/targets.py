"""The targets of the Dockerfile, and the names of their images, derived from all that goes into them."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from images.errors import ImagesError
from images.recipes import PYTHON, REDIS, Base

ROOT = Path(__file__).resolve().parent.parent
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_TAG_LENGTH = 12
_DEMO = ("demo/model_server", "demo/tool_server", "demo/traffic")


@dataclass(frozen=True, slots=True)
class Target:
    """A target of the Dockerfile, the paths of the checkout that it copies, and the stage that it builds upon.

    Without `dependencies` it builds upon its base image alone.
    """

    name: str
    inputs: tuple[str, ...]
    dependencies: str = ""
    base: Base = PYTHON


def _target(name: str, lock: str, *packages: str) -> Target:
    return Target(name, ("Dockerfile", "LICENSE", f"locks/{lock}.txt", *packages), f"{lock}-dependencies")


TARGETS = {
    target.name: target
    for target in (
        _target("operator", "operator", "agent_api", "operator/agent_operator"),
        _target("gateway", "gateway", "agent_api", "agent_gateway"),
        _target("runtime", "runtime", "agent_api", "agent_runtime"),
        _target("modelserver", "runtime", "agent_api", "agent_runtime", *_DEMO),
        Target("store", ("Dockerfile", "LICENSE"), base=REDIS),
    )
}


def stage(target: Target, root: Path, context: Path) -> None:
    """Copy the target's inputs into a build context of its own, so that name and image come from the same bytes.

    Times and rights are made uniform: clones of one commit share layers.

    Raises:
        ImagesError: an input is missing.
    """
    for name in target.inputs:
        source, destination = root / name, context / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
        elif source.is_file():
            shutil.copyfile(source, destination)
        else:
            message = f"image {target.name}: {name} is missing"
            raise ImagesError(message)
    for path in (context, *context.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (0, 0))


def content_tag(context: Path, base: str, arguments: Mapping[str, str]) -> str:
    """Return the tag: a hash over the staged files, the base image and the build arguments."""
    files = sorted(path for path in context.rglob("*") if path.is_file())
    return _tag((*_facts(context, files), base, *(f"{key}={value}" for key, value in sorted(arguments.items()))))


def dependencies_tag(context: Path, base: str) -> str:
    """Return the tag of the stage of dependencies: a hash over the Dockerfile, the lock and the base image."""
    return _tag((*_facts(context, (context / "Dockerfile", *(context / "locks").iterdir())), base))


def _tag(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()[:_TAG_LENGTH]


def _facts(context: Path, files: Iterable[Path]) -> Iterable[str]:
    return (f"{path.relative_to(context)} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files)


def image_name(target: str, tag: str, registry: str = "localhost") -> str:
    """Return the full reference of a target's image.

    Raises:
        ImagesError: the tag is none.
    """
    if not _TAG.fullmatch(tag):
        message = f"{tag!r} is no image tag"
        raise ImagesError(message)
    return f"{registry}/greylag-{target}:{tag}"
