"""A runtime with everything that is secret, on a real Redis with a password, and a real collector of traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.counted_tools import CountedTools, counted_tools
from tests.support.faulty_provider import FaultyProvider, answers, calls_tool
from tests.support.otlp_sink import OtlpSink, otlp_sink
from tests.support.redis import RedisServer, running_redis
from tests.support.runtime_fixtures import http, parent, provider, start_runtime
from tests.support.runtimes import Runtime, document_of, endpoint_of, price_of

__all__ = ["http", "parent", "provider", "start_runtime"]

STORE_PASSWORD = "store-password-9f8e7d6c5b4a"
SECRETS = {
    "key of the model": "sk-model-4f1a9c2e7b3d5a6f8091",
    "header of the tool": "tool-header-secret-0a1b2c3d4e",
    "password of the store": STORE_PASSWORD,
    "key of the user": "user-key-5d4c3b2a19080706",
}
TEXTS = {
    "question": "giraffe-question",
    "answer": "walrus-answer",
    "instructions": "pelican-instructions",
    "argument": "badger-argument",
    "result": "ferret-result",
}
CARD = "4111 1111 1111 1111"
USER = "ann-of-the-mountains"


class SecretRedis(RedisServer):
    """A server whose URL holds its password."""

    @property
    def url(self) -> str:
        return f"redis://:{STORE_PASSWORD}@127.0.0.1:{self.port}/0"


@dataclass
class Scene:
    """The runtime and everything around it."""

    runtime: Runtime
    provider: FaultyProvider
    tools: CountedTools
    sink: OtlpSink
    folder: Any

    @property
    def key(self) -> dict[str, str]:
        return {"authorization": f"Bearer {SECRETS['key of the user']}"}

    async def told(self) -> dict[str, str]:
        """Everything that is written down or can be read, by where."""
        paths = ("/metrics", "/report", "/observations", "/ready", "/openapi.json")
        read = {path: (await self.runtime.get(path))[1] for path in paths}
        spans = b"\n".join(self.sink.bodies).decode("utf-8", "replace")
        return {**read, "log": self.runtime.process.output(), "spans": spans}


@pytest.fixture
async def sink():
    async with otlp_sink() as collector:
        yield collector


@pytest.fixture
async def tools():
    async with counted_tools() as server:
        server.answer = f"{TEXTS['result']} for {CARD}"
        yield server


@pytest.fixture(scope="session")
def secret_redis(tmp_path_factory):
    with running_redis(tmp_path_factory.mktemp("redis") / "data", "--requirepass", STORE_PASSWORD) as plain:
        server = SecretRedis(plain.folder)
        server.port = plain.port
        yield server


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
async def stage(start_runtime, provider, tools, sink, secret_redis, tmp_path):
    """Starts the runtime, by default sending spans to the collector."""
    write(tmp_path / "credentials" / "0" / "api-key", SECRETS["key of the model"])
    write(tmp_path / "headers" / "0-0" / "value", f"Bearer {SECRETS['header of the tool']}")
    write(tmp_path / "api-keys" / USER, SECRETS["key of the user"])
    provider.script(
        "gpt-x",
        calls_tool("counted__look", {"text": f"{TEXTS['argument']} {CARD}"}),
        answers(f"{TEXTS['answer']} {CARD}"),
    )

    async def start(**environment):
        document = document_of(
            endpoint_of("gpt-x", provider.base_url, **price_of(1, 2)),
            instructions=TEXTS["instructions"],
            tools=[tools.source(headers=[{"name": "Authorization"}])],
            toolPolicy={"default": "Allow"},
            guards={"blockedInput": ["never-ask-this"]},
        )
        live = {"budgets": {"dailyMicro": 10**9}, "access": {"apiKeys": True}}
        runtime = await start_runtime(
            document,
            store=secret_redis,
            live=live,
            **{
                "GREYLAG_CREDENTIALS": "0",
                "GREYLAG_API_KEYS_DIRECTORY": str(tmp_path / "api-keys"),
                **sink.environment,
                **environment,
            },
        )
        return Scene(runtime, provider, tools, sink, tmp_path)

    return start


@pytest.fixture
def secrets():
    return SECRETS


@pytest.fixture
def texts():
    return TEXTS


@pytest.fixture
def card():
    return CARD


@pytest.fixture
def user():
    return USER
