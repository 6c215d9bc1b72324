"""Configuration files of a node: containerd, its network plugin, the kubelet; and CoreDNS's."""

import json
from pathlib import Path
from typing import Any

from devcluster.audit import audit_policy
from devcluster.plan import Node, Plan

PAUSE_IMAGE = "localhost/pause:1"
CNI_PLUGINS = Path("/usr/lib/cni")
_CAP_SYS_RESOURCE = 24

_CONTAINERD = """\
version = 2
root = "{root}"
state = "{run}/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.internal.v1.restart"]

[grpc]
address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
restrict_oom_score_adj = {restrict}
netns_mounts_under_state_dir = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{conf_dir}"

[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{registry_hosts}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{run}/runc"
"""

_COREFILE = """\
cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {{
    bind {bind}
    errors
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}

.:53 {{
    bind {bind}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def has_capability(number: int) -> bool:
    """Tell whether this process holds the capability of that number."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def containerd_config(plan: Plan, node: Node) -> str:
    """Return containerd's configuration for one node."""
    return _CONTAINERD.format(
        root=node.directory / "containerd",
        run=node.run,
        socket=node.containerd_socket,
        pause=PAUSE_IMAGE,
        restrict=str(not has_capability(_CAP_SYS_RESOURCE)).lower(),
        plugins=CNI_PLUGINS,
        conf_dir=node.directory / "cni",
        registry_hosts=plan.registry_hosts,
    )


def cni_config(node: Node) -> dict[str, Any]:
    """Return the pod network: routed links, so that replies pass the node's NAT on their way back.

    With a bridge they would not, unless the kernel has br_netfilter.
    """
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": node.pod_subnet}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": str(node.directory / "addresses"),
    }
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    return {"cniVersion": "1.0.0", "name": node.cni_network, "plugins": [plugin]}


def kubelet_config(plan: Plan, node: Node) -> dict[str, Any]:
    """Return the kubelet's configuration: quick to notice changes, slow to evict."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(plan.certs / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [plan.dns_service_address],
        "resolvConf": str(plan.state / "resolv.conf"),
        "podLogsDir": str(node.directory / "pod-logs"),
        "volumePluginDir": str(node.directory / "volume-plugins"),
        **_cgroup_settings(node),
        **_speed_settings(),
        **_disk_settings(),
    }


def _cgroup_settings(node: Node) -> dict[str, Any]:
    return {
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
    }


def _speed_settings() -> dict[str, Any]:
    return {
        "maxPods": 250,
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 300,
        "syncFrequency": "10s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
    }


def _disk_settings() -> dict[str, Any]:
    hard = {"memory.available": "50Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%"}
    return {
        "evictionHard": {**hard, "imagefs.available": "1%", "imagefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def write_configs(plan: Plan) -> None:
    """Write all configuration files of the cluster."""
    plan.registry_hosts.mkdir(parents=True, exist_ok=True)
    plan.logs.mkdir(parents=True, exist_ok=True)
    _write_json(plan.state / "audit-policy.yaml", audit_policy())
    dns = plan.nodes[0].address
    (plan.state / "resolv.conf").write_text(f"nameserver {dns}\n", encoding="ascii")
    corefile = _COREFILE.format(bind=dns, kubeconfig=plan.certs / "coredns.kubeconfig")
    (plan.state / "Corefile").write_text(corefile, encoding="utf-8")
    for node in plan.nodes:
        (node.directory / "cni").mkdir(parents=True, exist_ok=True)
        node.run.mkdir(parents=True, exist_ok=True)
        (node.directory / "containerd.toml").write_text(containerd_config(plan, node), encoding="utf-8")
        _write_json(node.directory / "cni" / "10-greylag.conflist", cni_config(node))
        _write_json(node.directory / "kubelet.yaml", kubelet_config(plan, node))


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
