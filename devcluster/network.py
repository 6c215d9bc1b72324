"""Network namespaces of the nodes, and the one link between them and the machine.

The nodes have no default route: pods reach each other, the API server and the machine's end of the link,
nothing else.
"""

import contextlib
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.plan import NETNS_ROOT, RUN_ROOT, Node, Plan
from devcluster.process import run

_NODE_DEVICE = "node0"
_LINK_DEVICE = "host0"
_MOUNT_MARKER = RUN_ROOT / "netns-mount"
_SYSCTLS = {
    "ip_forward": "1",
    "conf/all/rp_filter": "0",
    "conf/default/rp_filter": "0",
    "conf/all/send_redirects": "0",
    # Otherwise a refused way out is told once a second at most, and callers wait for their timeout.
    "icmp_ratelimit": "0",
}


def enter(node: Node) -> list[str]:
    """Return the command prefix that runs a program in the node's network.

    `ip netns exec` would remount /sys and hide the cgroups.
    """
    return ["nsenter", f"--net={node.netns_path}"]


def is_network_complete(plan: Plan) -> bool:
    """Tell whether namespaces and link stand as :func:`create_network` leaves them."""
    namespaces = all(node.netns_path.exists() for node in plan.nodes)
    return namespaces and _device_exists(plan.host_device) and (plan.run / "network").exists()


def create_network(plan: Plan) -> None:
    """Make namespaces, addresses and routes."""
    if not NETNS_ROOT.is_mount():
        _MOUNT_MARKER.touch()
    for node in plan.nodes:
        _create_namespace(node)
    first = plan.nodes[0]
    run(
        [
            "ip",
            "link",
            "add",
            plan.host_device,
            "type",
            "veth",
            "peer",
            "name",
            _LINK_DEVICE,
            "netns",
            first.netns,
        ]
    )
    _ip_batch(_first_node_commands(plan), first)
    for node in plan.nodes[1:]:
        _ip_batch(_join_commands(node), first)
        _ip_batch(_later_node_commands(plan, node), node)
    _ip_batch(_host_commands(plan), None)
    (plan.run / "network").touch()


def _create_namespace(node: Node) -> None:
    run(["ip", "netns", "add", node.netns])
    lines = "; ".join(f"echo {value} > /proc/sys/net/ipv4/{key}" for key, value in _SYSCTLS.items())
    run([*enter(node), "sh", "-ec", lines])


def _first_node_commands(plan: Plan) -> list[str]:
    node = plan.nodes[0]
    return [
        "link set lo up",
        f"link add {_NODE_DEVICE} type bridge",
        f"address add {node.address}/24 dev {_NODE_DEVICE}",
        f"link set {_NODE_DEVICE} up",
        f"address add {plan.link_address}/30 dev {_LINK_DEVICE}",
        f"link set {_LINK_DEVICE} up",
        f"route add {plan.service_cidr} dev {_NODE_DEVICE}",
        "route add unreachable default",
    ]


def _join_commands(node: Node) -> list[str]:
    return [
        f"link add {node.name} type veth peer name {_NODE_DEVICE} netns {node.netns}",
        f"link set {node.name} master {_NODE_DEVICE} up",
        f"route add {node.pod_subnet} via {node.address} dev {_NODE_DEVICE} onlink",
    ]


def _later_node_commands(plan: Plan, node: Node) -> list[str]:
    first = plan.nodes[0]
    return [
        "link set lo up",
        f"address add {node.address}/24 dev {_NODE_DEVICE}",
        f"link set {_NODE_DEVICE} up",
        f"route add {plan.service_cidr} dev {_NODE_DEVICE}",
        f"route add {first.pod_subnet} via {first.address}",
        f"route add {plan.host_address}/32 via {first.address}",
        "route add unreachable default",
    ]


def _host_commands(plan: Plan) -> list[str]:
    device = plan.host_device
    return [
        f"address add {plan.host_address}/30 dev {device}",
        f"link set {device} up",
        *(f"route add {cidr} via {plan.link_address} dev {device}" for cidr in plan.addresses),
    ]


def _ip_batch(commands: list[str], node: Node | None) -> None:
    prefix = enter(node) if node else []
    run([*prefix, "ip", "-batch", "-"], stdin="\n".join(commands) + "\n")


def _device_exists(name: str) -> bool:
    return (Path("/sys/class/net") / name).exists()


def delete_network(host_device: str | None, namespaces: list[str]) -> None:
    """Remove link and namespaces, in whatever state they are."""
    if host_device and _device_exists(host_device):
        run(["ip", "link", "delete", host_device])
    for name in namespaces:
        if (NETNS_ROOT / name).exists():
            run(["ip", "netns", "delete", name])
    _unmount_empty_root()


def _unmount_empty_root() -> None:
    if not _MOUNT_MARKER.exists() or any(NETNS_ROOT.iterdir()):
        return
    # Another program may have added a namespace this very moment: then the mount is busy and stays.
    with contextlib.suppress(DevclusterError, OSError):
        run(["umount", str(NETNS_ROOT)])
        NETNS_ROOT.rmdir()
    _MOUNT_MARKER.unlink()
