"""A cluster in memory at the client's boundary, and the program run against it."""

from __future__ import annotations

import io
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from agentctl.__main__ import real_environment, run
from agentctl.cluster.client import Target
from agentctl.cluster.failures import agent_not_found
from agentctl.environment import Environment, Timing
from agentctl.errors import ApiError, UnreachableError
from agentctl.text.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)
STATES = Path(__file__).parent / "states"


@dataclass
class FakeCluster:
    """Agents in memory; `operator` is called after every command, as a real one would act."""

    agents: dict[str, dict[str, Any]] = field(default_factory=dict)
    routes: dict[str, dict[str, Any]] = field(default_factory=dict)
    revisions: list[dict[str, Any]] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    operator: Callable[[dict[str, Any], str], None] = lambda _agent, _command: None
    failures: list[Exception] = field(default_factory=list)
    target: Target = field(default_factory=Target)

    @property
    def namespace(self) -> str:
        return "team-a"

    def get_agent(self, name: str) -> dict[str, Any]:
        if self.failures:
            raise self.failures.pop(0)
        if name not in self.agents:
            raise agent_not_found(name, self.namespace, list(self.agents))
        return deepcopy(self.agents[name])

    def list_agents(self, *, all_namespaces: bool) -> list[dict[str, Any]]:
        mine = [agent for agent in self.agents.values() if all_namespaces or _is_mine(agent)]
        return deepcopy(mine)

    def send_command(self, name: str, command: str) -> None:
        if name not in self.agents:
            raise agent_not_found(name, self.namespace, list(self.agents))
        self.commands.append(command)
        self.agents[name]["metadata"].setdefault("annotations", {})["greylag.dev/command"] = command
        self.operator(self.agents[name], command)

    def get_route(self, name: str) -> dict[str, Any] | None:
        return self.routes.get(name)

    def list_revisions(self, name: str) -> list[dict[str, Any]]:
        return [item for item in self.revisions if item["metadata"]["labels"]["greylag.dev/agent"] == name]

    def connect(self, target: Target) -> FakeCluster:
        self.target = target
        return self


def _is_mine(agent: dict[str, Any]) -> bool:
    return bool(agent["metadata"]["namespace"] == "team-a")


@dataclass
class Clock:
    """Time that passes only by sleeping."""

    passed: float = 0.0
    on_sleep: list[Callable[[], None]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        if self.on_sleep:
            self.on_sleep.pop(0)()


@dataclass(frozen=True)
class Outcome:
    """What one run printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state() -> Callable[[str], dict[str, Any]]:
    def load(name: str) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load((STATES / f"{name}.yaml").read_text())
        return document

    return load


@pytest.fixture
def agentctl(cluster: FakeCluster, clock: Clock, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def now() -> datetime:
        return NOW + timedelta(seconds=clock.passed)

    def call(*arguments: str) -> Outcome:
        environment = Environment(
            cluster.connect, now, Timing(lambda: clock.passed, clock.sleep), real_environment().serve
        )
        out, err = io.StringIO(), io.StringIO()
        code = run(arguments, environment, Terminal(out, err))
        captured = capsys.readouterr()
        return Outcome(code, out.getvalue() + captured.out, err.getvalue() + captured.err)

    return call


@pytest.fixture
def unreachable() -> ApiError:
    return UnreachableError("cannot reach the API server: Connection refused")
