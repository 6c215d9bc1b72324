"""A second cluster beside whatever runs: used, broken, repaired, and gone without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from devcluster import teardown
from devcluster.api import ApiClient
from devcluster.cluster import Cluster
from devcluster.images import write_busybox_image
from devcluster.process import identify, wait_until
from devcluster.registry import read_record

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NAME = f"t{os.getpid()}"
IMAGE = "localhost/devcluster-test:1"
POD_SECONDS = 60
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def words_of(cluster):
    """Words by which anything of this cluster, and of no other, is known: name, device, sandbox ids, shim sockets."""
    results = Path("/var/lib/cni/results").glob(f"greylag.{NAME}.*")
    sandboxes = {path.name.split("-")[-2] for path in results}
    addresses = cluster.plan.run.glob("node*/containerd/io.containerd.runtime.v2.task/*/*/address")
    sockets = {path.read_text(encoding="utf-8").rpartition("/")[2] for path in addresses}
    return {f"/{NAME}/", f".{NAME}.", f" {cluster.plan.host_device} ", *sandboxes, *sockets}


def traces(words):
    """Everything on the machine that bears one of the words."""
    commands = ("ip -o link", "ip route show table all", "ip netns list", "ps axww -o args")
    lines = [line for command in commands for line in _lines_of(command.split())]
    lines += Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    folders = ("/var/lib/cni/results", "/run/containerd/s", "/run/greylag", "/sys/fs/cgroup", "/sys/fs/cgroup/*")
    lines += [f"{path}/" for folder in folders for path in Path("/").glob(f"{folder[1:]}/*")]
    lines += [f"{path} {path.readlink()}" for path in Path("/var/log/containers").glob("*")]
    return sorted({line for line in lines for word in words if word in line.replace("@", " ")})


def _lines_of(argv):
    return subprocess.check_output(argv, text=True, timeout=30).splitlines()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(NAME)
    try:
        made.up(nodes=2)
        archive = tmp_path_factory.mktemp("image") / "image.tar"
        write_busybox_image(archive, IMAGE, ["httpd", "-f", "-p", "8080", "-h", "/etc"])
        assert made.load(archive) == [IMAGE]
        yield made
    finally:
        made.down()


def kubectl(cluster, *words, stdin=None):
    argv = [str(cluster.bin_dir / "kubectl"), "--kubeconfig", str(cluster.kubeconfig), *words]
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def web(node):
    labels = {"app": "web", "node": node}
    container = {
        "name": "web",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", f"echo {node} > /tmp/index.html; echo started; exec httpd -f -p 8080 -h /tmp"],
        "securityContext": RESTRICTED,
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"web-{node}", "namespace": "pods", "labels": labels},
        "spec": {
            "nodeName": node,
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }


@pytest.fixture(scope="module")
def pods(cluster):
    """A restricted namespace with one serving pod on each node behind Service `web`."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "pods", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "pods"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    items = {"apiVersion": "v1", "kind": "List", "items": [namespace, service, web("node1"), web("node2")]}
    kubectl(cluster, "create", "-f", "-", stdin=json.dumps(items))
    kubectl(cluster, "-n", "pods", "wait", "pod", "--all", "--for=condition=Ready", f"--timeout={POD_SECONDS}s")
    return cluster


def service_address(cluster):
    return kubectl(cluster, "-n", "pods", "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")


def fetch(address):
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return answer.read().decode().strip()
    except OSError:
        return ""


def answers(address, wanted, seconds=30):
    seen = set()

    def complete():
        seen.add(fetch(address))
        return seen >= wanted

    return wait_until(complete, seconds, poll=0.1)


def test_the_machine_reaches_both_nodes_through_one_service_address(pods):
    assert answers(service_address(pods), {"node1", "node2"})


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_a_pod_reaches_the_service_by_name_and_exec_and_logs_work(pods, node):
    def asked():
        request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc web.pods.svc.cluster.local 80 | tail -1"
        return kubectl(pods, "-n", "pods", "exec", f"web-{node}", "--", "sh", "-c", request).strip()

    seen = set()
    assert wait_until(lambda: seen.add(asked()) or seen >= {"node1", "node2"}, 30, poll=0.1)
    assert kubectl(pods, "-n", "pods", "logs", f"web-{node}") == "started\n"


def test_a_pod_has_no_way_out(pods):
    words = ["-n", "pods", "exec", "web-node1", "--", "sh", "-c", "nc -w 5 192.0.2.1 80 2>&1; true"]
    began = time.monotonic()
    assert "No route to host" in kubectl(pods, *words)
    assert time.monotonic() - began < 10


def test_a_pod_that_breaks_the_restricted_profile_is_refused(pods):
    pod = web("node1")
    pod["metadata"]["name"] = "root"
    pod["spec"]["securityContext"] = {}
    with pytest.raises(AssertionError, match="runAsNonRoot"):
        kubectl(pods, "create", "-f", "-", stdin=json.dumps(pod))


def test_writes_are_in_the_audit_log_by_identity_when_answered(pods):
    kubectl(pods, "-n", "pods", "create", "configmap", "seen", "--from-literal=a=b")
    events = [json.loads(line) for line in pods.audit_log.read_text(encoding="utf-8").splitlines()]
    found = [event for event in events if event["objectRef"].get("name") == "seen"]
    assert [(event["user"]["username"], event["verb"]) for event in found] == [("admin", "create")]
    assert not [event for event in events if event["verb"] in {"get", "list", "watch"}]


def test_pods_serve_while_the_api_server_is_away(pods):
    address = service_address(pods)
    pods.stop_api()
    try:
        assert not ApiClient(pods.plan).is_ready()
        assert answers(address, {"node1", "node2"})
    finally:
        pods.start_api()
    assert ApiClient(pods.plan).ready_nodes() == {"node1", "node2"}


def test_a_healthy_cluster_is_left_alone_at_once(cluster):
    before = cluster.status().programs
    began = time.monotonic()
    cluster.up(nodes=2)
    assert time.monotonic() - began < 3
    assert cluster.status().programs == before


def test_programs_that_died_are_started_again_and_no_other(pods):
    before = pods.status().programs
    killed = {"kube-apiserver", "kubelet-node2", "etcd", "containerd-node1", "coredns"}
    for name in killed:
        os.kill(before[name], signal.SIGKILL)
    assert wait_until(lambda: not any(identify(before[name]) for name in killed), 10)
    pods.up(nodes=2)
    after = pods.status()
    assert after.healthy
    assert {name for name, pid in after.programs.items() if pid != before[name]} == killed
    assert answers(service_address(pods), {"node1", "node2"})


def test_down_leaves_no_trace_of_a_used_cluster(pods):
    words = words_of(pods)
    assert len(words) > 6
    assert len(traces(words)) > 30
    pods.down()
    assert traces(words) == []
    assert teardown.leftovers(NAME) == []
    assert read_record(NAME) is None
    pods.down()


@pytest.mark.parametrize("seconds", [0.3, 1.0, 3.0])
def test_down_removes_a_half_started_cluster(seconds):
    argv = [sys.executable, "-m", "devcluster", "up", "--name", NAME]
    process = subprocess.Popen(argv, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    process.wait(10)
    Cluster(NAME).down()
    assert teardown.leftovers(NAME) == []
    assert traces({f"/{NAME}/", f".{NAME}."}) == []
