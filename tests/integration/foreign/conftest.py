"""Programs that others wrote, against an agent as its pod runs it: with a real Redis, a model server and tools."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.pod import Program, manifest_of, python_module, running, running_pod
from tests.support.store_fixtures import standing_redis

__all__ = ["standing_redis"]

CLIENT_SECONDS = 20
WAIT_SECONDS = 60
_namespaces = itertools.count()
StartAgent = Callable[..., Program]


@pytest.fixture(scope="session")
def model_server(tmp_path_factory) -> Iterator[Program]:
    """The simulated provider; every call of a model called bad fails."""
    log = tmp_path_factory.mktemp("models") / "log.txt"
    with running(python_module("demo.model_server"), log, "/health", LATENCY_MS="0", BAD_PERCENT="100") as server:
        yield server


@pytest.fixture(scope="session")
def tool_server(tmp_path_factory) -> Iterator[Program]:
    log = tmp_path_factory.mktemp("shop") / "log.txt"
    with running(python_module("demo.tool_server"), log, "/health") as server:
        yield server


def _starter(stack: contextlib.ExitStack, folder: Path, store_url: str, models_url: str) -> StartAgent:
    def start(
        *, model: str = "good-v1", provider_url: str = "", price=None, secrets=None, environment=None, **spec: Any
    ) -> Program:
        number = next(_namespaces)
        endpoint = {"name": model, "baseURL": provider_url or f"{models_url}/v1"} | ({"price": price} if price else {})
        agent = manifest_of({"model": endpoint, **spec}, "support", f"team-{number}")
        pod = running_pod(folder / f"pod-{number}", agent, store_url, secrets, **(environment or {}))
        return stack.enter_context(pod)

    return start


@pytest.fixture
def start_agent(tmp_path, standing_redis, model_server) -> Iterator[StartAgent]:
    """Starts agents of a test's own, each in a namespace of its own."""
    with contextlib.ExitStack() as stack:
        yield _starter(stack, tmp_path, standing_redis.url, model_server.url)


@pytest.fixture(scope="module")
def start_lasting_agent(tmp_path_factory, standing_redis, model_server) -> Iterator[StartAgent]:
    """Starts agents that the tests of a module share."""
    with contextlib.ExitStack() as stack:
        yield _starter(stack, tmp_path_factory.mktemp("agents"), standing_redis.url, model_server.url)


@pytest.fixture(scope="session")
def agent(tmp_path_factory, standing_redis, model_server, tool_server) -> Iterator[Program]:
    """An agent that tests share: everybody may ask it, and it may look orders up."""
    shop = {"openAPI": {"url": f"{tool_server.url}/openapi.json"}, "baseURL": tool_server.url}
    with contextlib.ExitStack() as stack:
        start = _starter(stack, tmp_path_factory.mktemp("agent"), standing_redis.url, model_server.url)
        yield start(
            tools=[{"name": "shop", "http": shop}],
            toolPolicy={"rules": [{"tools": ["shop.getOrder"], "action": "Allow"}]},
        )


@pytest.fixture
def connect() -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes clients as people do: by base URL and key alone, here without their own retries."""
    with contextlib.ExitStack() as stack:

        def client(agent: Program, api_key: str = "none", **options: Any) -> openai.OpenAI:
            made = openai.OpenAI(
                base_url=f"{agent.url}/v1", api_key=api_key, max_retries=0, timeout=CLIENT_SECONDS, **options
            )
            return stack.enter_context(made)

        yield client


@pytest.fixture
def run_once() -> Callable[..., dict[str, Any]]:
    """Asks by `POST /agent/run` and returns the document of the answer."""

    def run(agent: Program, query: str) -> dict[str, Any]:
        answer: dict[str, Any] = agent.post("/agent/run", {"query": query})
        return answer

    return run


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    return wait


@pytest.fixture
def client(agent, connect) -> openai.OpenAI:
    return connect(agent)
