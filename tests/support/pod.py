"""An agent as its pod runs it, on loopback: what the operator writes, as mounted files, and the runtime's process."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_api.v1alpha1.agent import AgentDeployment
from agentctl.local.manifest import Bundle
from agentctl.local.pod_folder import write_pod_folder
from tests.support.redis import write_secret

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30
STOP_SECONDS = 20
ANSWER_SECONDS = 30
Secrets = Mapping[tuple[str, str], str]
"""Texts by name and key of their Secret."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@dataclass
class Program:
    """A process that serves HTTP; its output is kept in a file."""

    argv: list[str]
    port: int
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def start(self, path: str) -> None:
        """Start it and wait until it answers at a path with anything but a server error."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.argv,
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(path):
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.05)

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=2):  # noqa: S310 - our own process
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    def get(self, path: str) -> Any:
        return self._exchange(urllib.request.Request(f"{self.url}{path}"))  # noqa: S310 - our own process

    def post(self, path: str, body: object) -> Any:
        headers = {"content-type": "application/json"}
        content = json.dumps(body).encode()
        return self._exchange(urllib.request.Request(f"{self.url}{path}", content, headers))  # noqa: S310 - as above

    def _exchange(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:  # noqa: S310 - as above
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code}: {error.read().decode()}") from error

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(STOP_SECONDS)
            self.process = None


@contextlib.contextmanager
def running(argv: list[str], log: Path, path: str, *, port: int = 0, **environment: str) -> Iterator[Program]:
    """A program for the length of a block; PORT and HOST are in its environment, `{port}` in a word is replaced."""
    port = port or free_port()
    words = [word.replace("{port}", str(port)) for word in argv]
    program = Program(words, port, log, {"PORT": str(port), "HOST": "127.0.0.1", **environment})
    program.start(path)
    try:
        yield program
    finally:
        program.kill()


def python_module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


def manifest_of(spec: dict[str, Any], name: str, namespace: str) -> AgentDeployment:
    """An AgentDeployment with what every one must have."""
    return AgentDeployment.model_validate(
        {
            "apiVersion": "greylag.dev/v1alpha1",
            "kind": "AgentDeployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"agent": {"instructions": "You answer."}, **spec},
        }
    )


@contextlib.contextmanager
def running_pod(
    folder: Path, agent: AgentDeployment, store_url: str, secrets: Secrets | None = None, **environment: str
) -> Iterator[Program]:
    """A pod of an agent for the length of a block, ready."""
    texts = {("Secret", name, key): text for (name, key), text in (secrets or {}).items()}
    files = write_pod_folder(Bundle(agent, texts), folder, {})
    settings = {
        "GREYLAG_DOCUMENT": str(files.document),
        "GREYLAG_LIVE": str(files.live),
        "GREYLAG_CREDENTIALS_DIRECTORY": str(files.credentials),
        "GREYLAG_CREDENTIALS": ",".join(map(str, files.positions)),
        "GREYLAG_HEADERS_DIRECTORY": str(files.headers),
        "GREYLAG_STORE_DIRECTORY": str(write_secret(folder / "store", store_url)),
        "GREYLAG_POD_NAME": "pod-1",
        "GREYLAG_LAME_DUCK_SECONDS": "0",
        "PYTHONWARNINGS": "error",
    }
    if files.api_keys is not None:
        settings["GREYLAG_API_KEYS_DIRECTORY"] = str(files.api_keys)
    port = free_port()
    settings |= {"GREYLAG_HOST": "127.0.0.1", "GREYLAG_PORT": str(port)}
    argv = python_module("agent_runtime")
    with running(argv, folder / "runtime.log", "/ready", port=port, **settings, **environment) as pod:
        yield pod
