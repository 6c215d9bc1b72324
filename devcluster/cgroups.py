"""The cgroup below which a node's kubelet keeps its pods; version 1 and 2."""

import contextlib
import os
from pathlib import Path

from devcluster.process import wait_until

_ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """List the mount points of all cgroup hierarchies."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    return sorted(path for path in _ROOT.iterdir() if path.is_dir() and not path.is_symlink())


def create_cgroup(name: str) -> None:
    """Make the group in every hierarchy, with a processor share of the whole machine."""
    for root in hierarchies():
        group = root / name
        group.mkdir(exist_ok=True)
        _inherit_cpuset(root, group)
        if (group / "cpu.shares").exists():
            (group / "cpu.shares").write_text(str(1024 * (os.cpu_count() or 1)), encoding="ascii")
        if root == _ROOT:
            _enable_controllers(group)


def _inherit_cpuset(root: Path, group: Path) -> None:
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (root / name).exists() and (group / name).exists() and root != _ROOT:
            (group / name).write_text((root / name).read_text(encoding="ascii"), encoding="ascii")


def _enable_controllers(group: Path) -> None:
    for parent in (group.parent, group):
        names = (parent / "cgroup.controllers").read_text(encoding="ascii").split()
        (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names), encoding="ascii")


def processes_in(name: str) -> set[int]:
    """Return the pids in the group and below it, over all hierarchies."""
    found: set[int] = set()
    for group in _groups(name):
        with contextlib.suppress(OSError):
            found.update(map(int, (group / "cgroup.procs").read_text(encoding="ascii").split()))
    return found


def remove_cgroup(name: str, seconds: float = 10) -> bool:
    """Remove the group and all below it; False if some is still in use when the time is over."""

    def removed() -> bool:
        for group in _groups(name):
            with contextlib.suppress(OSError):
                group.rmdir()
        return not _groups(name)

    return wait_until(removed, seconds)


def _groups(name: str) -> list[Path]:
    """List the group's folders, the deepest first."""
    found: list[Path] = []
    for root in hierarchies():
        found.extend(Path(folder) for folder, _, _ in os.walk(root / name, topdown=False))
    return found
