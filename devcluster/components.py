"""The command lines of the cluster's programs."""

from dataclasses import dataclass
from pathlib import Path

from devcluster.network import enter
from devcluster.plan import API_PORT, Node, Plan

ETCD_URL = "http://127.0.0.1:2379"


@dataclass(frozen=True, slots=True)
class Component:
    """One long-running program and the node whose network it lives in."""

    name: str
    node: Node
    argv: tuple[str, ...]

    @property
    def command(self) -> list[str]:
        """The whole command, namespace included."""
        return [*enter(self.node), *self.argv]


def containerd(node: Node) -> Component:
    """Container runtime of a node; the Debian package's program."""
    argv = ("containerd", "--config", str(node.directory / "containerd.toml"), "--log-level", "warn")
    return Component(f"containerd-{node.name}", node, argv)


def etcd(plan: Plan, programs: Path) -> Component:
    """The store. Not synced to disk: the cluster is made anew after a power cut anyway."""
    peer = "http://127.0.0.1:2380"
    options = {
        "data-dir": plan.state / "etcd",
        "listen-client-urls": ETCD_URL,
        "advertise-client-urls": ETCD_URL,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "log-level": "warn",
        "unsafe-no-fsync": "true",
    }
    return _component("etcd", plan.nodes[0], programs, options)


def api_server(plan: Plan, programs: Path) -> Component:
    """The API server, listening on all addresses of the first node."""
    options: dict[str, object] = {
        "advertise-address": plan.nodes[0].address,
        "secure-port": API_PORT,
        "etcd-servers": ETCD_URL,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "service-cluster-ip-range": plan.service_cidr,
        "kubelet-preferred-address-types": "InternalIP",
        "audit-policy-file": plan.state / "audit-policy.yaml",
        "audit-log-path": plan.audit_log,
        "audit-log-maxsize": 2048,
        "shutdown-delay-duration": "0s",
        **_api_server_credentials(plan.certs),
    }
    return _component("kube-apiserver", plan.nodes[0], programs, options)


def _api_server_credentials(certs: Path) -> dict[str, object]:
    return {
        "client-ca-file": certs / "ca.crt",
        "tls-cert-file": certs / "apiserver.crt",
        "tls-private-key-file": certs / "apiserver.key",
        "kubelet-client-certificate": certs / "apiserver-kubelet-client.crt",
        "kubelet-client-key": certs / "apiserver-kubelet-client.key",
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": certs / "sa.pub",
        "service-account-signing-key-file": certs / "sa.key",
        "requestheader-client-ca-file": certs / "front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": certs / "front-proxy-client.crt",
        "proxy-client-key-file": certs / "front-proxy-client.key",
    }


def controller_manager(plan: Plan, programs: Path) -> Component:
    """The controllers; no leader election, since they end when they lose a Lease in an API outage."""
    options = {
        **_client(plan, "controller-manager"),
        "use-service-account-credentials": "true",
        "service-account-private-key-file": plan.certs / "sa.key",
        "root-ca-file": plan.certs / "ca.crt",
        "cluster-signing-cert-file": plan.certs / "ca.crt",
        "cluster-signing-key-file": plan.certs / "ca.key",
        "node-monitor-grace-period": "5m",
        "flex-volume-plugin-dir": plan.state / "volume-plugins",
        "kube-api-qps": 300,
        "kube-api-burst": 400,
    }
    return _component("kube-controller-manager", plan.nodes[0], programs, options)


def scheduler(plan: Plan, programs: Path) -> Component:
    """The scheduler, without leader election for the same reason."""
    options = {**_client(plan, "scheduler"), "kube-api-qps": 300, "kube-api-burst": 400}
    return _component("kube-scheduler", plan.nodes[0], programs, options)


def _client(plan: Plan, name: str) -> dict[str, object]:
    path = plan.certs / f"{name}.kubeconfig"
    return {
        "kubeconfig": path,
        "authentication-kubeconfig": path,
        "authorization-kubeconfig": path,
        "bind-address": "127.0.0.1",
        "leader-elect": "false",
    }


def coredns(plan: Plan, programs: Path) -> Component:
    """Name server of the pods, a process on the first node behind Service `kube-dns`."""
    return Component("coredns", plan.nodes[0], (str(programs / "coredns"), "-conf", str(plan.state / "Corefile")))


def kubelet(plan: Plan, node: Node, programs: Path) -> Component:
    """A node's kubelet."""
    options = {
        "config": node.directory / "kubelet.yaml",
        "kubeconfig": plan.certs / f"kubelet-{node.name}.kubeconfig",
        "root-dir": node.directory / "kubelet",
        "cert-dir": node.directory / "kubelet-pki",
        "hostname-override": node.name,
        "node-ip": node.address,
    }
    return _component("kubelet", node, programs, options, suffix=f"-{node.name}")


def kube_proxy(plan: Plan, node: Node, programs: Path) -> Component:
    """A node's Service addresses; conntrack limits stay as the machine has them."""
    options = {
        "kubeconfig": plan.certs / "kube-proxy.kubeconfig",
        "hostname-override": node.name,
        "proxy-mode": "nftables",
        "conntrack-max-per-core": 0,
        "conntrack-min": 0,
        "healthz-bind-address": "127.0.0.1:10256",
        "oom-score-adj": 0,
    }
    return _component("kube-proxy", node, programs, options, suffix=f"-{node.name}")


def _component(program: str, node: Node, programs: Path, options: dict[str, object], suffix: str = "") -> Component:
    argv = (str(programs / program), *(f"--{key}={value}" for key, value in options.items()))
    return Component(f"{program}{suffix}", node, argv)


def before_api(plan: Plan, programs: Path) -> tuple[Component, ...]:
    """List what the API server needs and what needs no API server."""
    return (etcd(plan, programs), *(containerd(node) for node in plan.nodes))


def after_api(plan: Plan, programs: Path) -> tuple[Component, ...]:
    """List what wants a ready API server."""
    nodes = [make(plan, node, programs) for node in plan.nodes for make in (kubelet, kube_proxy)]
    return (*nodes, controller_manager(plan, programs), coredns(plan, programs), scheduler(plan, programs))


def all_components(plan: Plan, programs: Path) -> tuple[Component, ...]:
    """List every program, in the order of start."""
    return (*before_api(plan, programs), api_server(plan, programs), *after_api(plan, programs))
