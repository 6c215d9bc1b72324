"""The sidecar and Envoy as their containers run them, against the API server that KUBECONFIG names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from kubernetes.aio import client, config
from kubernetes.aio.client import ApiException

from tests.integration.gateway.conftest import TIMEOUT, Upstream, eventually, free_port

CRD = Path(__file__).parents[3] / "crds" / "greylag.dev_agentroutes.yaml"
GROUP = ("greylag.dev", "v1alpha1")


@dataclass
class Pod:
    """The two containers of a gateway pod, and an API client beside them."""

    namespace: str
    objects: client.CustomObjectsApi
    http: aiohttp.ClientSession
    config_dir: Path
    control: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = {
            **os.environ,
            "GREYLAG_NAMESPACE": self.namespace,
            "GREYLAG_POD_NAME": "gateway-0",
            "GREYLAG_CONFIG_DIR": str(self.config_dir),
            "GREYLAG_ADMIN_PORT": str(free_port()),
            "GREYLAG_FRONT_DOOR_PORT": str(free_port()),
            "GREYLAG_CONTROL_PORT": str(self.control),
            "GREYLAG_KUBECONFIG": os.environ["KUBECONFIG"],
            "GREYLAG_DRAIN_MINIMUM_SECONDS": "0.5",
        }

    async def start(self, command: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "agent_gateway", command, env=self.environment, stdout=asyncio.subprocess.DEVNULL
        )
        self.processes[command] = process
        return process

    async def stop(self) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        try:
            async with self.http.get(f"http://127.0.0.1:{self.control}{path}") as response:
                return response.status, await response.text()
        except aiohttp.ClientError:
            return 0, ""

    async def applied(self) -> dict[str, Any]:
        status, text = await self.get("/applied")
        return dict(yaml.safe_load(text)["routes"]) if status == 200 else {}

    async def wait_serial(self, serial: int) -> None:
        async def in_force() -> bool:
            return bool((await self.applied()).get("support", {}).get("serial") == serial)

        await eventually(in_force, f"serial {serial}", 20)

    async def ready(self) -> bool:
        return (await self.get("/ready"))[0] == 200

    async def revision(self) -> str:
        async with self.http.post(f"http://127.0.0.1:{self.port}/agent/run", json={}) as response:
            return str((await response.json())["revision"])


def route(pod: Pod, serial: int, v1: int) -> dict[str, Any]:
    revisions = [
        {"name": "v1", "service": "support-v1", "weight": v1, "role": "Stable"},
        {"name": "v2", "service": "support-v2", "weight": 100 - v1, "role": "Canary"},
    ]
    return {
        "apiVersion": "/".join(GROUP),
        "kind": "AgentRoute",
        "metadata": {"name": "support"},
        "spec": {"serial": serial, "port": pod.port, "epoch": 1, "revisions": revisions},
    }


def endpoint_slice(name: str, port: int) -> dict[str, Any]:
    labels = {
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["172.31.255.254"], "conditions": {"ready": True}}],
    }


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    """A namespace with its CRD, and a gateway pod of which nothing runs yet."""
    configuration = client.Configuration()
    await config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=configuration)
    namespace = f"gateway-{os.getpid()}-{time.time_ns() % 100_000}"
    async with client.ApiClient(configuration) as api, aiohttp.ClientSession(timeout=TIMEOUT) as http:
        with contextlib.suppress(ApiException):
            body = yaml.safe_load(CRD.read_text(encoding="utf-8"))
            await client.ApiextensionsV1Api(api).create_custom_resource_definition(body)
        core = client.CoreV1Api(api)
        await core.create_namespace({"metadata": {"name": namespace}})
        pod = Pod(namespace, client.CustomObjectsApi(api), http, tmp_path)
        try:
            yield pod
        finally:
            await pod.stop()
            await core.delete_namespace(namespace)


async def create(pod: Pod, item: dict[str, Any], group: tuple[str, str], plural: str) -> None:
    async def created() -> bool:
        with contextlib.suppress(ApiException):
            await pod.objects.create_namespaced_custom_object(*group, pod.namespace, plural, item)
            return True
        return False

    await eventually(created, f"{plural} can be created")


async def replace_weight(pod: Pod, serial: int, v1: int) -> None:
    patch = {"spec": route(pod, serial, v1)["spec"]}
    await pod.objects.patch_namespaced_custom_object(
        *GROUP, pod.namespace, "agentroutes", "support", patch, _content_type="application/merge-patch+json"
    )


async def test_a_route_written_to_the_api_server_comes_in_force_and_survives_every_restart(pod: Pod) -> None:
    async with contextlib.AsyncExitStack() as stack:
        upstream = Upstream("any")
        await upstream.start()
        stack.push_async_callback(upstream.stop)
        await pod.start("envoy")
        sidecar = await pod.start("sidecar")
        await eventually(pod.ready, "ready with no agent yet", 20)
        await create(pod, endpoint_slice("support-v1", upstream.port), ("discovery.k8s.io", "v1"), "endpointslices")
        await create(pod, route(pod, 1, 100), GROUP, "agentroutes")
        await pod.wait_serial(1)
        for serial in range(2, 8):
            begin = time.monotonic()
            await replace_weight(pod, serial, 100 - serial)
            await pod.wait_serial(serial)
            assert time.monotonic() - begin < 2
        sidecar.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(sidecar.wait(), 5) == 0
        await replace_weight(pod, 8, 50)
        await pod.start("sidecar")
        await pod.wait_serial(8)
        await pod.objects.delete_namespaced_custom_object(*GROUP, pod.namespace, "agentroutes", "support")

        async def gone() -> bool:
            return await pod.applied() == {}

        await eventually(gone, "the deleted route is gone")


async def test_the_drain_command_fails_readiness_and_ends(pod: Pod) -> None:
    await pod.start("envoy")
    await pod.start("sidecar")
    await eventually(pod.ready, "ready", 20)
    drain = await pod.start("drain")
    assert await asyncio.wait_for(drain.wait(), 10) == 0
    assert (await pod.get("/ready")) == (503, "draining\n")


async def test_the_sidecar_ends_with_an_error_where_it_cannot_start(pod: Pod) -> None:
    pod.environment["GREYLAG_KUBECONFIG"] = "/nowhere"
    sidecar = await pod.start("sidecar")
    assert await asyncio.wait_for(sidecar.wait(), 15) == 1
