"""The program as it is installed, against the API server that KUBECONFIG names, in a namespace of its own.

No operator runs here: the tests write the status that one would write.
"""

from __future__ import annotations

import base64
import io
import json
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from agentctl.__main__ import real_environment, run
from agentctl.cluster.failures import Call, failure
from agentctl.text.terminal import Terminal

REPOSITORY = Path(__file__).parents[3]
STATES = sorted((REPOSITORY / "tests/unit/cli/states").glob("*.yaml"))
BIN = Path(sys.executable).parent
GROUP = ("greylag.dev", "v1alpha1")
AGENTS = "agentdeployments"
TIMEOUT = 30

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def api() -> Iterator[client.ApiClient]:
    definitions = str(REPOSITORY / "crds")
    _kubectl("apply", "--server-side", "--force-conflicts", "-f", definitions)
    _kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", definitions)
    with config.new_client_from_config() as connection, _operator_away(connection):
        yield connection


@contextmanager
def _operator_away(connection: client.ApiClient) -> Iterator[None]:
    """Here the status is written by hand: an operator that is installed must not write it again meanwhile."""
    apps = client.AppsV1Api(connection)
    place = ("greylag-operator", "greylag-system")
    try:
        replicas = apps.read_namespaced_deployment_scale(*place, _request_timeout=TIMEOUT).spec.replicas
    except ApiException as error:
        if error.status != 404:
            raise
        yield
        return
    apps.patch_namespaced_deployment_scale(*place, {"spec": {"replicas": 0}}, _request_timeout=TIMEOUT)
    _kubectl(
        "-n", place[1], "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=operator", "--timeout=15s"
    )
    try:
        yield
    finally:
        apps.patch_namespaced_deployment_scale(*place, {"spec": {"replicas": replicas}}, _request_timeout=TIMEOUT)


def _kubectl(*arguments: str) -> str:
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=TIMEOUT * 2, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def namespace(api: client.ApiClient) -> Iterator[str]:
    name = f"agentctl-it-{secrets.token_hex(4)}"
    core = client.CoreV1Api(api)
    core.create_namespace({"metadata": {"name": name}}, _request_timeout=TIMEOUT)
    yield name
    core.delete_namespace(name, _request_timeout=TIMEOUT)


@dataclass(frozen=True)
class Agents:
    """AgentDeployments with a status written by hand."""

    objects: client.CustomObjectsApi
    namespace: str

    def create(self, document: dict[str, Any], name: str) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        status = document.get("status")
        body = {key: value for key, value in document.items() if key != "status"} | {"metadata": metadata}
        self.objects.create_namespaced_custom_object(
            *GROUP, self.namespace, AGENTS, body, field_validation="Strict", _request_timeout=TIMEOUT
        )
        if status is not None:
            self.set_status(name, status)

    def set_status(self, name: str, status: dict[str, Any]) -> None:
        self.objects.patch_namespaced_custom_object_status(
            *GROUP,
            self.namespace,
            AGENTS,
            name,
            {"status": status},
            _content_type="application/merge-patch+json",
            field_validation="Strict",
            _request_timeout=TIMEOUT,
        )

    def get(self, name: str) -> dict[str, Any]:
        found = self.objects.get_namespaced_custom_object(
            *GROUP, self.namespace, AGENTS, name, _request_timeout=TIMEOUT
        )
        return dict(found)


@pytest.fixture(scope="module")
def agents(api: client.ApiClient, namespace: str) -> Agents:
    return Agents(client.CustomObjectsApi(api), namespace)


@pytest.fixture
def agent(agents: Agents) -> str:
    """A paused agent of its own for one test."""
    name = f"a-{secrets.token_hex(4)}"
    agents.create(yaml.safe_load((STATES[0].parent / "pause-step.yaml").read_text()), name)
    return name


@pytest.fixture
def agentctl(namespace: str) -> Run:
    def call(*arguments: str, kubeconfig: str | None = None) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ) | ({"KUBECONFIG": kubeconfig} if kubeconfig else {})
        command = [sys.executable, "-m", "agentctl", *arguments, "-n", namespace]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT * 2, check=False, env=environment, cwd=REPOSITORY
        )

    return call


@pytest.fixture
def operator(agents: Agents) -> Iterator[Callable[[str, str], None]]:
    """Answers the next command of an agent with a result, as the operator would."""
    stop, threads = threading.Event(), []

    def answer(name: str, result: str) -> None:
        for _ in range(TIMEOUT * 10):
            command = agents.get(name)["metadata"].get("annotations", {}).get("greylag.dev/command")
            if command is not None:
                verb, _, identity = command.partition("@")
                observed = {"id": identity, "verb": verb, "result": result, "message": "said by the test"}
                agents.set_status(name, {"observedCommand": observed})
                return
            if stop.wait(0.1):
                return

    def start(name: str, result: str) -> None:
        threads.append(threading.Thread(target=answer, args=(name, result)))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(TIMEOUT)


@pytest.mark.parametrize("path", STATES, ids=lambda path: path.stem)
def test_every_golden_state_is_accepted_by_the_definition_and_shown(agents, path) -> None:
    document = yaml.safe_load(path.read_text())
    agents.create(document, path.stem)
    page, trouble = io.StringIO(), io.StringIO()
    code = run(["get", path.stem, "-n", agents.namespace], real_environment(), Terminal(page, trouble))
    assert code == 0, trouble.getvalue()
    phase = document.get("status", {}).get("phase", "-")
    assert page.getvalue().startswith(f"{agents.namespace}/{path.stem}   {phase}")


def test_the_table_lists_the_namespace_and_all_namespaces(agents, agent, agentctl) -> None:
    assert any(line.startswith(agent) for line in agentctl("get").stdout.splitlines())
    everywhere = agentctl("get", "-A", "-o", "wide").stdout
    assert any(line.split()[:2] == [agents.namespace, agent] for line in everywhere.splitlines())


def test_documents_come_as_json_and_yaml(agent, agentctl) -> None:
    assert json.loads(agentctl("get", agent, "-o", "json").stdout)["metadata"]["name"] == agent
    assert yaml.safe_load(agentctl("get", agent, "-o", "yaml").stdout)["status"]["phase"] == "Paused"


@pytest.mark.parametrize(("result", "code"), [("Done", 0), ("Refused", 3)])
def test_a_verb_waits_for_its_answer(agents, agent, agentctl, operator, result, code) -> None:
    operator(agent, result)
    done = agentctl("promote", agent)
    assert done.returncode == code
    assert "said by the test" in done.stdout + done.stderr
    managers = {entry["manager"] for entry in agents.get(agent)["metadata"]["managedFields"]}
    assert "agentctl" in managers
    assert agents.get(agent)["metadata"]["generation"] == 1


def test_a_verb_without_an_answer_ends_with_4(agent, agentctl) -> None:
    done = agentctl("abort", agent, "--timeout", "1s")
    assert done.returncode == 4
    assert "is it running?" in done.stderr


def test_history_reads_the_records(api, namespace, agent, agentctl) -> None:
    labels = {"greylag.dev/agent": agent, "app.kubernetes.io/component": "revision"}
    for suffix in ("one", "two"):
        revision = f"{agent}-{suffix}"
        metadata = {"name": revision, "labels": {**labels, "greylag.dev/revision": revision}}
        body = {"metadata": metadata, "data": {"document.json": "{}"}}
        client.CoreV1Api(api).create_namespaced_config_map(namespace, body, _request_timeout=TIMEOUT)
    lines = agentctl("history", agent).stdout.splitlines()
    assert lines[0].split() == ["REVISION", "ROLE", "WEIGHT", "MODEL", "AGE"]
    assert {line.split()[0] for line in lines[1:]} == {f"{agent}-one", f"{agent}-two"}


def test_a_wrong_name_gets_the_nearest(agent, agentctl) -> None:
    for command in ("get", "promote"):
        done = agentctl(command, f"{agent}x")
        assert done.returncode == 1
        assert f"did you mean {agent}?" in done.stderr


def test_a_missing_permission_is_named(api, namespace, agent, agentctl, tmp_path) -> None:
    core = client.CoreV1Api(api)
    account = f"nobody-{secrets.token_hex(4)}"
    core.create_namespaced_service_account(namespace, {"metadata": {"name": account}}, _request_timeout=TIMEOUT)
    token = _kubectl("create", "token", account, "-n", namespace).strip()
    kubeconfig = _kubeconfig(tmp_path, api, api.configuration.host, token)
    done = agentctl("promote", agent, kubeconfig=kubeconfig)
    assert done.returncode == 1
    assert f"missing permission: patch agentdeployments.greylag.dev in namespace {namespace}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_server_that_is_not_there_is_one_line(api, agentctl, tmp_path) -> None:
    done = agentctl("get", kubeconfig=_kubeconfig(tmp_path, api, "https://127.0.0.1:9", "none"))
    assert done.returncode == 1
    assert done.stderr == "error: cannot reach the API server: 127.0.0.1:9: Connection refused\n"


def test_no_kubeconfig_is_one_line(agentctl, tmp_path) -> None:
    done = agentctl("get", kubeconfig=str(tmp_path / "absent"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: no usable kubeconfig")
    assert done.stderr.count("\n") == 1


def _kubeconfig(directory: Path, api: client.ApiClient, server: str, token: str) -> str:
    authority = base64.b64encode(Path(api.configuration.ssl_ca_cert).read_bytes()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return str(path)


def test_a_type_that_is_not_installed_is_told_from_an_object_that_is_missing(api) -> None:
    with pytest.raises(client.ApiException) as caught:
        client.CustomObjectsApi(api).list_namespaced_custom_object(
            "absent.greylag.dev", "v1alpha1", "default", AGENTS, _request_timeout=TIMEOUT
        )
    call = Call("list", "agentdeployments.absent.greylag.dev", "default")
    assert "is not installed in this cluster" in str(failure(call, caught.value.status or 0, caught.value.body))


def test_kubectl_finds_the_program_as_its_plugin(agent, namespace) -> None:
    environment = dict(os.environ) | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["kubectl", "agent", "get", agent, "-n", namespace],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert f"kubectl agent promote {agent} -n {namespace}" in done.stdout
