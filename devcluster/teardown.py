"""Taking a cluster away, whole or half-started: only what it started itself."""

import contextlib
import shutil
import signal
from pathlib import Path

from devcluster import cgroups, network
from devcluster.errors import DevclusterError
from devcluster.plan import MAX_NODES, Plan, make_plan, run_directory, state_directory
from devcluster.process import MARKER, ProcessIdentity, identify, read_pid_file, run, send, stop, wait_until
from devcluster.registry import Record, cluster_names

_CNI_CACHE = Path("/var/lib/cni")
_LOG_LINKS = Path("/var/log/containers")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
_STOP_SECONDS = 15


def remove_cluster(name: str, record: Record | None) -> None:
    """Remove every trace of the cluster.

    Raises:
        DevclusterError: something does not go away; it is named.
    """
    state = Path(record.state) if record else state_directory(name)
    # More nodes than it has do no harm: what is not there is not removed.
    plan = make_plan(name, record.index if record else 0, MAX_NODES, state)
    _stop_components(plan)
    sockets = _shim_sockets(plan)
    _stop_rest(plan)
    _unmount(plan)
    _remove_cgroups(plan)
    network.delete_network(plan.host_device if record else None, [node.netns for node in plan.nodes])
    _remove_shared_files(plan, sockets)
    _remove_folders(plan)


def _stop_components(plan: Plan) -> None:
    files = sorted(plan.run.glob("*.pid"))
    # Kubelet and containerd first: they would make again what is taken away below.
    files.sort(key=lambda path: not path.name.startswith(("kubelet", "containerd")))
    stop([identity for identity in map(read_pid_file, files) if identity], grace_seconds=0)


def _stop_rest(plan: Plan) -> None:
    def gone() -> bool:
        left = _processes(plan)
        for identity in left:
            send(identity, signal.SIGKILL)
        return not left

    if not wait_until(gone, _STOP_SECONDS, poll=0.05):
        message = f"processes of {plan.name} do not end: pids {[item.pid for item in _processes(plan)]}"
        raise DevclusterError(message)


def _processes(plan: Plan) -> list[ProcessIdentity]:
    pids = set(_programs(plan))
    for node in plan.nodes:
        pids |= cgroups.processes_in(node.cgroup)
    return [identity for identity in map(identify, pids) if identity]


def _programs(plan: Plan) -> list[int]:
    """Return the pids of what we started and of the shims, which inherit containerd's environment."""
    marker = f"{MARKER}={plan.name}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


def _shim_sockets(plan: Plan) -> list[Path]:
    """Return the shims' sockets, which lie in a folder that all containerds of the machine share."""
    pattern = "node*/containerd/io.containerd.runtime.v2.task/*/*/address"
    texts = [path.read_text(encoding="utf-8").strip() for path in plan.run.glob(pattern)]
    return [Path(text.removeprefix("unix://")) for text in texts]


def mounts_below(folders: tuple[Path, ...]) -> list[str]:
    """List the mount points in these folders, the deepest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if any(point == str(folder) or point.startswith(f"{folder}/") for folder in folders):
            found.append(point)
    return sorted(found, key=len, reverse=True)


def _unmount(plan: Plan) -> None:
    def unmounted() -> bool:
        points = mounts_below((plan.run, plan.state))
        for point in points:
            with contextlib.suppress(DevclusterError):
                run(["umount", point])
        return not points

    if not wait_until(unmounted, _STOP_SECONDS, poll=0.1):
        message = f"still mounted: {mounts_below((plan.run, plan.state))}"
        raise DevclusterError(message)


def _remove_cgroups(plan: Plan) -> None:
    for node in plan.nodes:
        if not cgroups.remove_cgroup(node.cgroup):
            message = f"cgroup {node.cgroup} is still in use by {sorted(cgroups.processes_in(node.cgroup))}"
            raise DevclusterError(message)


def _remove_shared_files(plan: Plan, sockets: list[Path]) -> None:
    """Remove what the programs put into folders that cannot be chosen."""
    for path in sockets:
        path.unlink(missing_ok=True)
    for node in plan.nodes:
        for result in _CNI_CACHE.glob(f"results/{node.cni_network}-*"):
            sandbox = result.name.removeprefix(f"{node.cni_network}-").removesuffix("-eth0")
            result.with_name(f"cni-loopback-{sandbox}-lo").unlink(missing_ok=True)
            result.unlink(missing_ok=True)
    for link in _LOG_LINKS.glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{plan.state}/"):
            link.unlink(missing_ok=True)
    if cluster_names() == [plan.name]:
        shutil.rmtree(_DEVICE_PLUGINS, ignore_errors=True)
    for folder in (_CNI_CACHE / "results", _CNI_CACHE, _LOG_LINKS, _DEVICE_PLUGINS.parent):
        _remove_if_empty(folder)
    for folder in (Path("/run/containerd/s"), Path("/run/containerd")):
        _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove_folders(plan: Plan) -> None:
    for folder in (plan.state, plan.run):
        if folder.exists():
            shutil.rmtree(folder)
    _remove_if_empty(plan.state.parent)
    _remove_if_empty(plan.state.parent.parent)


def leftovers(name: str) -> list[str]:
    """Name what is still there of a cluster; empty after :func:`remove_cluster`."""
    plan = make_plan(name, 0, MAX_NODES, state_directory(name))
    found = [f"process {identity.pid}" for identity in _processes(plan)]
    found += [f"mount {point}" for point in mounts_below((plan.run, plan.state))]
    found += [f"network namespace {node.netns}" for node in plan.nodes if node.netns_path.exists()]
    found += [
        f"cgroup {root / node.cgroup}"
        for root in cgroups.hierarchies()
        for node in plan.nodes
        if (root / node.cgroup).exists()
    ]
    folders = (run_directory(name), state_directory(name), *_CNI_CACHE.glob(f"results/greylag.{name}.*"))
    return found + [f"folder {path}" for path in folders if path.exists()]
