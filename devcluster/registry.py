"""Which clusters exist on this machine, and who may change one right now."""

import contextlib
import fcntl
import ipaddress
import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.plan import (
    MAX_CLUSTERS,
    RUN_ROOT,
    Plan,
    check_name,
    make_plan,
    run_directory,
    state_directory,
)
from devcluster.process import run

_RECORD = "cluster.json"
_REGISTRY_LOCK = "registry.lock"
_LOCK_SECONDS = 300
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Record:
    """What `up` decided for a cluster; lives until `down` or a reboot."""

    index: int
    nodes: int
    state: str
    programs: str


@contextlib.contextmanager
def locked(name: str) -> Generator[Path]:
    """Hold the cluster against another `up` or `down`; yields the lock's file, which its holder may remove.

    Raises:
        DevclusterError: another command holds it for minutes.
    """
    with _flock(RUN_ROOT / f"{check_name(name)}.lock") as path:
        yield path


@contextlib.contextmanager
def _flock(path: Path) -> Generator[Path]:
    deadline = time.monotonic() + _LOCK_SECONDS
    while (file := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            message = f"another devcluster command holds {path} for {_LOCK_SECONDS} s"
            raise DevclusterError(message)
        time.sleep(_POLL_SECONDS)
    try:
        yield path
    finally:
        os.close(file)


def _try_lock(path: Path) -> int | None:
    """Return the locked file; None if another holds it or removed it while we waited."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino == os.fstat(file).st_ino:
                return file
        os.close(file)
    return None


def forget_if_empty() -> None:
    """Remove the registry itself when no cluster is left."""
    with _flock(RUN_ROOT / _REGISTRY_LOCK) as path:
        if cluster_names():
            return
        path.unlink()
    with contextlib.suppress(OSError):
        RUN_ROOT.rmdir()


def read_record(name: str) -> Record | None:
    """Return the record of a cluster; None if it is not up in this boot."""
    try:
        return Record(**json.loads((run_directory(name) / _RECORD).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        message = f"{run_directory(name) / _RECORD} is damaged: run `python -m devcluster down --name {name}`"
        raise DevclusterError(message) from error


def plan_of(name: str, record: Record) -> Plan:
    """Return the plan that a record stands for."""
    return make_plan(name, record.index, record.nodes, Path(record.state))


def new_record(name: str, nodes: int, programs: Path) -> Record:
    """Choose a free index and record the cluster.

    Raises:
        DevclusterError: all indexes are taken, or their addresses are in use on this machine.
    """
    with _flock(RUN_ROOT / _REGISTRY_LOCK):
        taken = {record.index for record in map(quiet_record, cluster_names()) if record}
        routes = machine_routes(run(["ip", "-json", "route", "show", "table", "all"]))
        state = state_directory(name)
        for index in sorted(set(range(MAX_CLUSTERS)) - taken):
            if not clashes(make_plan(name, index, nodes, state), routes):
                record = Record(index, nodes, str(state), str(programs))
                write_record(name, record)
                return record
    message = f"no free address range for another cluster; there are: {', '.join(cluster_names())}"
    raise DevclusterError(message)


def machine_routes(output: str) -> list[ipaddress.IPv4Network]:
    """Parse `ip -json route`; the default route is left out."""
    networks = []
    for route in json.loads(output):
        with contextlib.suppress(ValueError):
            networks.append(ipaddress.IPv4Network(route["dst"], strict=False))
    return networks


def clashes(plan: Plan, routes: list[ipaddress.IPv4Network]) -> bool:
    """Tell whether the machine uses one of the plan's ranges already."""
    wanted = (plan.pod_cidr, plan.service_cidr, plan.node_cidr, f"{plan.host_address}/30")
    ranges = [ipaddress.IPv4Network(cidr, strict=False) for cidr in wanted]
    return any(one.overlaps(other) for one in ranges for other in routes)


def quiet_record(name: str) -> Record | None:
    """Return the record of a cluster; None if there is none or it is damaged."""
    with contextlib.suppress(DevclusterError):
        return read_record(name)
    return None


def write_record(name: str, record: Record) -> None:
    """Store the record, atomically."""
    folder = run_directory(name)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{_RECORD}.new"
    content = {
        "index": record.index,
        "nodes": record.nodes,
        "state": record.state,
        "programs": record.programs,
    }
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(folder / _RECORD)


def cluster_names() -> list[str]:
    """List the clusters of this machine, half-started ones too."""
    if not RUN_ROOT.exists():
        return []
    return sorted(path.name for path in RUN_ROOT.iterdir() if path.is_dir())
