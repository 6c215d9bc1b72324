"""A Redis of a test's own in a namespace of the laboratory, and programs of any pod that stand still for a while."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent_operator.core.names import TRIAL_STORE
from agent_operator.core.resources.metadata import RESTRICTED_CONTAINER, RESTRICTED_POD
from tests.support.lab import Team

PORT = 6379
PASSWORD = "made-up"
URL_KEY = "url"


def reference(secret: str) -> dict[str, Any]:
    """Field `store` of an agent whose URL a Secret holds."""
    return {"urlSecretRef": {"name": secret, "key": URL_KEY}}


class ClusterStore:
    """A Redis without a volume: what it keeps goes with its pod."""

    def __init__(self, team: Team, name: str = "redis", replicas: int = 1) -> None:
        self._team = team
        self.name = name
        labels = {"app.kubernetes.io/name": name}
        metadata = {"name": name, "namespace": team.namespace, "labels": labels}
        container = {
            "name": "redis",
            "image": team.lab.images["store"],
            "imagePullPolicy": "IfNotPresent",
            "command": ["redis-server", "--save", "", "--requirepass", PASSWORD, "--protected-mode", "no"],
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            "securityContext": RESTRICTED_CONTAINER,
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        }
        pod = {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": RESTRICTED_POD,
            "containers": [container],
        }
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        ports = [{"port": PORT, "targetPort": PORT}]
        team.apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec},
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}},
        )

    def url(self, port: int = PORT) -> str:
        """Its URL; another port is one where nobody listens."""
        return f"redis://:{PASSWORD}@{self.name}.{self._team.namespace}.svc.cluster.local:{port}/0"

    def scale(self, replicas: int) -> None:
        """Set the number of its pods, at most 1."""
        path = f"/apis/apps/v1/namespaces/{self._team.namespace}/deployments/{self.name}/scale"
        self._team.lab.api.patch(path, {"spec": {"replicas": replicas}})


def put_secret(team: Team, name: str, values: dict[str, str]) -> None:
    """Make a Secret, or give it these values alone."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    metadata = {"name": name, "namespace": team.namespace}
    team.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def trial_store_url(team: Team) -> str:
    """URL of the namespace's own store, which has a password that nobody chose."""
    secret = team.find(f"/api/v1/namespaces/{team.namespace}/secrets/{TRIAL_STORE}")
    assert secret is not None
    return base64.b64decode(secret["data"][URL_KEY]).decode()


def pod_processes(uid: str, program: str) -> list[int]:
    """Ids of processes on this machine that run a program in a pod, known by its uid in the name of their cgroup."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            inside = f"/pod{uid}/" in (entry / "cgroup").read_text()
            if inside and (entry / "comm").read_text().strip() == program:
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def frozen(pod: dict[str, Any], program: str) -> Iterator[None]:
    """A program of a pod stands still while the block runs: connections stay open, and nobody answers."""
    processes = pod_processes(pod["metadata"]["uid"], program)
    assert processes, f"{pod['metadata']['name']} does not run {program}"
    try:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
