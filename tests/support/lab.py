"""A namespace on the devcluster with agents, a model server, and clients on the host that talk to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from demo.api import Refused
from demo.environment import Environment
from demo.manifests import MODELS, MODELS_PORT, make_model_server, make_namespace
from demo.traffic.client import Traffic
from demo.traffic.records import Fault, Journal, Record
from demo.traffic.script import Load

T = TypeVar("T")
GROUP = "/apis/greylag.dev/v1alpha1"
SYSTEM = "greylag-system"
FAST = Load(clients=6, conversations=3, think_min=0.2, think_max=0.6)


def make_agent(name: str, namespace: str, *, model: str = "good-1", fallback: str = "", **spec: Any) -> dict[str, Any]:
    """An AgentDeployment on the namespace's model server."""
    url = f"http://{MODELS}.{namespace}.svc.cluster.local:{MODELS_PORT}/v1"
    body: dict[str, Any] = {
        "replicas": 1,
        "agent": {"instructions": "You answer.", "timeout": "30s"},
        "model": {"name": model, "baseURL": url},
        "resilience": {
            "maxAttempts": 2,
            "baseDelay": "20ms",
            "maxDelay": "100ms",
            # Which runs fail is told beforehand, by a hash: an open breaker would spare models their calls.
            "circuitBreaker": {"failureThreshold": 10_000},
        },
        "rollout": {"conversationDrain": "60s", "canary": {"steps": []}},
    }
    if fallback:
        body["fallback"] = [{"name": fallback, "baseURL": url}]
    body.update(spec)
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "greylag.dev/v1alpha1", "kind": "AgentDeployment", "metadata": metadata, "spec": body}


class Clients:
    """Traffic from the host, in a thread of its own."""

    def __init__(self, url: str, load: Load) -> None:
        self.journal = Journal()
        self._traffic = Traffic(url, load, self.journal)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._traffic.run())
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 60) -> None:
        """Let running conversations end."""
        self._loop.call_soon_threadsafe(self._traffic.finish)
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "clients did not come to an end"
        if self._error is not None:
            raise self._error

    def records(self) -> list[Record]:
        return list(self.journal.page(0, 1_000_000).records)

    def failed(self) -> list[Record]:
        """Requests that failed for another reason than their model: faults, and answers without an outcome."""
        return [r for r in self.records() if r.fault is not Fault.NONE or (r.status >= 500 and not r.outcome)]


class Team:
    """One namespace."""

    def __init__(self, lab: Environment, name: str) -> None:
        self.lab = lab
        self.namespace = name

    def agent(self, name: str, **fields: Any) -> dict[str, Any]:
        """Manifest of an agent in this namespace."""
        return make_agent(name, self.namespace, **fields)

    def apply(self, *manifests: dict[str, Any]) -> None:
        self.lab.apply(*manifests)

    def find(self, path: str) -> dict[str, Any] | None:
        return self.lab.api.find(path)

    def status(self, agent: str) -> dict[str, Any]:
        found = self.find(f"{GROUP}/namespaces/{self.namespace}/agentdeployments/{agent}")
        return {} if found is None else {"generation": found["metadata"]["generation"], **found.get("status", {})}

    def route(self, agent: str) -> dict[str, Any]:
        found = self.find(f"{GROUP}/namespaces/{self.namespace}/agentroutes/{agent}")
        return {} if found is None else found["spec"]

    def condition(self, agent: str, kind: str) -> dict[str, Any]:
        conditions = self.status(agent).get("conditions", [])
        return next((c for c in conditions if c["type"] == kind), {})

    def pods(self, selector: str = "") -> list[dict[str, Any]]:
        return self.lab.api.get(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)["items"]

    def runtime_pods(self, agent: str) -> dict[str, int]:
        """Restarts by uid of an agent's pods."""
        pods = self.pods(f"greylag.dev/agent={agent}")
        return {
            p["metadata"]["uid"]: sum(c["restartCount"] for c in p["status"].get("containerStatuses", [])) for p in pods
        }

    def gateway_pods(self) -> list[dict[str, Any]]:
        return self.pods("app.kubernetes.io/component=gateway")

    def events(self, agent: str) -> list[dict[str, Any]]:
        selector = f"involvedObject.name={agent}"
        return self.lab.api.get(f"/api/v1/namespaces/{self.namespace}/events", fieldSelector=selector)["items"]

    def url(self, agent: str) -> str:
        """Where clients on this machine reach an agent, once kube-proxy has learnt of its Service."""
        path = f"/api/v1/namespaces/{self.namespace}/services/{agent}"
        service = self.wait_for(f"Service {agent}", lambda: self.find(path))
        url = f"http://{service['spec']['clusterIP']}"
        self.wait_for(f"an answer of {url}", lambda: _answers(f"{url}/health"))
        return url

    def wait_for(self, what: str, look: Callable[[], T | None], seconds: float = 90) -> T:
        """The first answer that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(Refused):
                answer = look()
                if answer:
                    return answer
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {seconds:.0f} s; {self._scene()}")

    def _scene(self) -> str:
        agents = self.lab.api.get(f"{GROUP}/namespaces/{self.namespace}/agentdeployments")["items"]
        return "; ".join(f"{a['metadata']['name']}: {a.get('status', {}).get('message')}" for a in agents)

    def wait_phase(self, agent: str, phase: str, seconds: float = 90) -> dict[str, Any]:
        """The status, once it is of the newest generation and in a phase."""

        def look() -> dict[str, Any] | None:
            status = self.status(agent)
            current = status.get("observedGeneration") == status.get("generation")
            return status if current and status.get("phase") == phase else None

        return self.wait_for(f"{agent} {phase}", look, seconds)

    def wait_weight(self, agent: str, weight: int, seconds: float = 60) -> dict[str, Any]:
        """The status, once the canary's weight is this and confirmed."""

        def look() -> dict[str, Any] | None:
            status = self.status(agent)
            verified = all(entry["verified"] for entry in status.get("traffic", []))
            return status if status.get("canaryWeight") == weight and verified else None

        return self.wait_for(f"{agent} at {weight} %", look, seconds)

    @contextlib.contextmanager
    def clients(self, agent: str, load: Load = FAST) -> Iterator[Clients]:
        """Traffic while the block runs; conversations that run are ended in order."""
        clients = Clients(self.url(agent), load)
        clients.start()
        try:
            yield clients
        finally:
            clients.stop()

    def agentctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "agentctl", "-n", self.namespace, *words]
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=120, check=False, env=dict(self.lab.variables)
        )


@contextlib.contextmanager
def team(lab: Environment, *, bad_percent: int = 60) -> Iterator[Team]:
    """A namespace with a model server; deleted afterwards, without waiting."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    namespace = make_namespace(name)
    lab.apply(namespace, *make_model_server(lab.images["modelserver"], name, bad_percent))
    try:
        yield Team(lab, name)
    finally:
        _remove(lab, name)


def _remove(lab: Environment, namespace: str) -> None:
    """Delete a namespace; its pods may drain for an hour, and here nobody waits for their answers any more."""
    agents = f"{GROUP}/namespaces/{namespace}/agentdeployments"
    for agent in lab.api.get(agents)["items"]:
        lab.api.delete(f"{agents}/{agent['metadata']['name']}")
    lab.api.delete(f"/api/v1/namespaces/{namespace}")
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for pod in lab.api.get(pods)["items"]:
        lab.api.delete(f"{pods}/{pod['metadata']['name']}", gracePeriodSeconds="1")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - an address of our own making
            return bool(response.status == 200)
    except OSError:
        return False


def leader(lab: Environment) -> str:
    """Name of the operator pod that leads."""
    lease = lab.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/greylag-operator")
    return str(lease["spec"].get("holderIdentity") or "")


def processes_of(pod: str, *words: str) -> list[int]:
    """Ids of processes on this machine that run in a pod of ours, known by its name in their environment."""
    mark = f"GREYLAG_POD_NAME={pod}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            inside = mark in (entry / "environ").read_bytes() + b"\0"
            command = (entry / "cmdline").read_bytes()
            if inside and all(word.encode() in command for word in words):
                found.append(int(entry.name))
    return found


def kill(process: int) -> None:
    """End a process at once, as a crash would."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
