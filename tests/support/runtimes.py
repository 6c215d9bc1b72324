"""Runtime processes on loopback and a way to speak to them: their document, their live document and their output."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from agent_runtime.live import CHECK_SECONDS
from tests.support.redis import RedisServer, write_secret
from tests.support.runtime_parent import RuntimeParent

REVISION = "support-5c9f0a1b2d"
NOBODY = "http://127.0.0.1:9/v1"
"""Where nothing listens."""

START_SECONDS = 60
LIVE_SECONDS = CHECK_SECONDS + 0.05
Answered = tuple[int, Any, Any]
"""Status, headers and parsed body."""

_namespaces = itertools.count()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def endpoint_of(model: str, base_url: str, **changes: Any) -> dict[str, Any]:
    """An endpoint of the document, patient enough for a busy machine."""
    return {
        "model": model,
        "baseUrl": base_url,
        "maxOutputTokens": 100,
        "firstTokenSeconds": 10,
        "idleSeconds": 10,
        "totalSeconds": 20,
        **changes,
    }


def price_of(sent: float, received: float) -> dict[str, Any]:
    """Price of an endpoint, in dollars a million tokens."""
    return {"price": {"inputMicro": round(sent * 1e6), "outputMicro": round(received * 1e6)}}


def document_of(*endpoints: dict[str, Any], retry: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The document of an agent in a namespace of its own; delays between attempts are short."""
    return {
        "agent": "support",
        "namespace": f"team-{next(_namespaces)}",
        "revision": REVISION,
        "instructions": "Be kind.",
        "maxIterations": 10,
        "timeoutSeconds": 30,
        "endpoints": list(endpoints),
        "retry": {"maxAttempts": 3, "baseDelaySeconds": 0.01, "maxDelaySeconds": 0.05, **(retry or {})},
        # Few tests are about the breaker, and the others must not trip over it.
        "breaker": {"failureThreshold": 10_000},
        **changes,
    }


@dataclass
class Pod:
    """One runtime process, whose files and output are in a folder of its own."""

    parent: RuntimeParent
    folder: Path
    port: int
    pid: int = 0
    _read_from: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "runtime.log"

    def start(self, environment: dict[str, str]) -> None:
        self.pid = self.parent.start(environment, self.log)

    def set_live(self, **parts: Any) -> None:
        """Replace the live document; in force within a second."""
        staged = self.folder / ".live.json"
        staged.write_text(json.dumps(parts))
        staged.replace(self.folder / "live.json")

    def output(self) -> str:
        return self.log.read_bytes()[self._read_from :].decode() if self.log.exists() else ""

    def forget_output(self) -> None:
        self._read_from = self.log.stat().st_size

    def lines(self, event: str) -> list[dict[str, Any]]:
        whole = self.output().rpartition("\n")[0]
        return [line for line in map(json.loads, whole.splitlines()) if line["event"] == event]

    def resident_bytes(self) -> int:
        """Memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def terminate(self) -> None:
        self.send(signal.SIGTERM)

    def send(self, number: int) -> None:
        assert self.parent.exit_code(self.pid) is None, self.output()
        os.kill(self.pid, number)

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.parent.wait, self.pid)

    def kill(self) -> None:
        self.parent.kill(self.pid)


@dataclass
class Runtime:
    """A runtime process as its callers know it."""

    process: Pod
    http: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.process.url

    async def run(
        self, body: Any = None, headers: dict[str, str] | None = None, path: str = "/agent/run", **options: Any
    ) -> Answered:
        """Ask; a text is the whole question."""
        asked = {"query": "hi"} if body is None else {"query": body} if isinstance(body, str) else body
        async with self.http.post(self.url + path, json=asked, headers=headers, **options) as response:
            return response.status, response.headers, await response.json(content_type=None)

    async def run_raw(self, content: Any, content_type: str = "application/json") -> Answered:
        headers = {"content-type": content_type}
        async with self.http.post(f"{self.url}/agent/run", data=content, headers=headers) as response:
            return response.status, response.headers, await response.json(content_type=None)

    async def chat(self, body: dict[str, Any], headers: dict[str, str] | None = None) -> Answered:
        """Ask by the OpenAI protocol."""
        return await self.run(body, headers, "/v1/chat/completions")

    async def events(self, body: Any = None, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
        """Everything that a streamed run shows."""
        asked = {"query": "hi", "stream": True, **(body or {})}
        async with self.http.post(f"{self.url}/agent/run", json=asked, headers=headers) as response:
            assert response.status == 200, await response.text()
            return [json.loads(line[6:]) async for line in response.content if line.startswith(b"data: ")]

    async def get(self, path: str) -> tuple[int, str]:
        async with self.http.get(self.url + path) as response:
            return response.status, await response.text()

    async def document(self, path: str) -> Any:
        return json.loads((await self.get(path))[1])

    async def metric(self, sample: str) -> float:
        """Value of one sample of /metrics, named with all its labels but the revision; 0 if it is not there."""
        name, _, labels = sample.partition("{")
        wanted = {*filter(None, labels.rstrip("}").split(",")), f'revision="{REVISION}"'}
        for line in (await self.get("/metrics"))[1].splitlines():
            head, _, value = line.rpartition(" ")
            found, _, rest = head.partition("{")
            if found == name and set(rest.rstrip("}").split(",")) == wanted:
                return float(value)
        return 0.0

    async def spent_micro(self) -> int:
        """What the ledger of the day says."""
        spend = (await self.document("/report"))["spend"]
        assert spend is not None
        return int(spend["spentMicro"])

    async def in_flight(self) -> int:
        return int((await self.document("/observations"))["inFlight"])

    async def observations(self) -> Any:
        return await self.document("/observations")

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.process.port)

    async def until_answers(self, path: str) -> None:
        async def answers() -> bool:
            return (await self.get(path))[0] == 200

        await self.until(answers)

    async def apply_live(self, **parts: Any) -> None:
        """Replace the live document and wait until it is in force: every look from a second later on sees it."""
        self.process.set_live(**parts)
        await asyncio.sleep(LIVE_SECONDS)

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = START_SECONDS) -> None:
        """Wait for a condition; a process that is not there yet, or not any more, does not fulfil it."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if await condition():
                    return
            except aiohttp.ClientConnectionError:
                pass
            assert time.monotonic() < deadline, self.process.output()
            await asyncio.sleep(0.02)


@dataclass
class Runtimes:
    """Starts runtimes, each in a folder of its own."""

    parent: RuntimeParent
    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def launch(
        self,
        document: dict[str, Any],
        *,
        live: dict[str, Any] | None = None,
        store: RedisServer | None = None,
        **environment: str,
    ) -> Pod:
        """Start a process; it may not answer yet."""
        number = next(self._numbers)
        pod = Pod(self.parent, self.folder / f"pod-{number}", free_port())
        pod.folder.mkdir(parents=True)
        (pod.folder / "document.json").write_text(json.dumps(document))
        pod.set_live(**(live or {}))
        settings = {
            "GREYLAG_DOCUMENT": str(pod.folder / "document.json"),
            "GREYLAG_LIVE": str(pod.folder / "live.json"),
            "GREYLAG_HOST": "127.0.0.1",
            "GREYLAG_PORT": str(pod.port),
            "GREYLAG_CREDENTIALS_DIRECTORY": str(self.folder / "credentials"),
            "GREYLAG_HEADERS_DIRECTORY": str(self.folder / "headers"),
            "GREYLAG_POD_NAME": f"pod-{number}",
            "GREYLAG_LAME_DUCK_SECONDS": "0",
            "PATH": "",
        }
        if store is not None:
            settings["GREYLAG_STORE_DIRECTORY"] = str(write_secret(pod.folder / "store", store.url))
        pod.start({**settings, **environment})
        self.stack.callback(pod.kill)
        return pod
