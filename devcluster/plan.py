"""Names, addresses and paths of one cluster, computed from its name, index and size."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError

DEFAULT_NAME = "greylag"
MAX_NODES = 2
MAX_CLUSTERS = 50
API_PORT = 6443
RUN_ROOT = Path("/run/greylag")
NETNS_ROOT = Path("/run/netns")
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Node:
    """One kubelet with its own containerd, kube-proxy and network namespace."""

    name: str
    number: int
    address: str
    netns: str
    pod_subnet: str
    directory: Path
    run: Path
    cgroup: str
    cni_network: str

    @property
    def containerd_socket(self) -> Path:
        """Where this node's containerd listens."""
        return self.run / "containerd.sock"

    @property
    def netns_path(self) -> Path:
        """The namespace's bind mount, as `nsenter --net=` wants it."""
        return NETNS_ROOT / self.netns


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about a cluster that follows from its name, index and number of nodes."""

    name: str
    index: int
    nodes: tuple[Node, ...]
    state: Path
    run: Path

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of the cluster's administrator."""
        return self.state / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Audit log of the API server, one JSON object a line."""
        return self.state / "audit.log"

    @property
    def certs(self) -> Path:
        """Folder of keys and certificates."""
        return self.state / "certs"

    @property
    def logs(self) -> Path:
        """Folder of the programs' own logs."""
        return self.state / "logs"

    @property
    def registry_hosts(self) -> Path:
        """The `config_path` of containerd: a folder per registry host, read at each pull."""
        return self.state / "certs.d"

    @property
    def server(self) -> str:
        """URL of the API server, from the machine and from the nodes alike."""
        return f"https://{self.nodes[0].address}:{API_PORT}"

    @property
    def pod_cidr(self) -> str:
        """Range of all pod addresses."""
        return f"10.{100 + self.index}.0.0/16"

    @property
    def service_cidr(self) -> str:
        """Range of all ClusterIPs."""
        return f"10.{200 + self.index}.0.0/16"

    @property
    def api_service_address(self) -> str:
        """ClusterIP of `kubernetes.default`."""
        return f"10.{200 + self.index}.0.1"

    @property
    def dns_service_address(self) -> str:
        """ClusterIP of `kube-dns.kube-system`."""
        return f"10.{200 + self.index}.0.10"

    @property
    def node_cidr(self) -> str:
        """Range of the nodes' addresses."""
        return f"172.30.{self.index}.0/24"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All ranges that the machine reaches through the link."""
        return (self.pod_cidr, self.service_cidr, self.node_cidr)

    @property
    def host_address(self) -> str:
        """The machine's own address on the link into the cluster; pods reach it too."""
        return f"172.31.{self.index}.1"

    @property
    def link_address(self) -> str:
        """The first node's address on the link to the machine."""
        return f"172.31.{self.index}.2"

    @property
    def host_device(self) -> str:
        """The machine's end of the link."""
        return f"glhost{self.index}"


def check_name(name: str) -> str:
    """Return the name.

    Raises:
        DevclusterError: the name does not fit into device and file names.
    """
    if not _NAME.fullmatch(name):
        message = f"cluster name {name!r}: 1 to 20 of a-z, 0-9 and '-', beginning with a letter"
        raise DevclusterError(message)
    return name


def check_nodes(nodes: int) -> None:
    """Check the number of nodes.

    Raises:
        DevclusterError: it is not 1 to `MAX_NODES`.
    """
    if not 1 <= nodes <= MAX_NODES:
        message = f"NODES={nodes}: 1 or {MAX_NODES}"
        raise DevclusterError(message)


def run_directory(name: str) -> Path:
    """Sockets, pid files and mounts of a cluster; gone after a reboot, as they should be."""
    return RUN_ROOT / check_name(name)


def state_directory(name: str) -> Path:
    """Kubeconfig, certificates, logs and data of a cluster."""
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "greylag" / "clusters" / check_name(name)


def make_plan(name: str, index: int, nodes: int, state: Path) -> Plan:
    """Compute the plan of a cluster.

    Raises:
        DevclusterError: name, index or number of nodes out of range.
    """
    check_name(name)
    if not 0 <= index < MAX_CLUSTERS:
        message = f"cluster index {index} is not in 0..{MAX_CLUSTERS - 1}"
        raise DevclusterError(message)
    check_nodes(nodes)
    run = RUN_ROOT / name
    members = tuple(_make_node(name, index, number, state, run) for number in range(1, nodes + 1))
    return Plan(name=name, index=index, nodes=members, state=state, run=run)


def _make_node(cluster: str, index: int, number: int, state: Path, run: Path) -> Node:
    node = f"node{number}"
    return Node(
        name=node,
        number=number,
        address=f"172.30.{index}.{number}",
        netns=f"greylag.{cluster}.{node}",
        pod_subnet=f"10.{100 + index}.{number - 1}.0/24",
        directory=state / node,
        run=run / node,
        cgroup=f"greylag.{cluster}.{node}",
        cni_network=f"greylag.{cluster}.{node}",
    )
