"""The store of a pod: one Redis client that follows its Secret, and keys that lie in one hash slot."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.maint_notifications import MaintNotificationsConfig

from agent_api.report import StoreReport
from agent_api.runtime_document import STORE_CA_FILE, STORE_URL_FILE
from agent_runtime.mounted import Signature, signature_of
from agent_runtime.store.circuit import CALL_SECONDS, Circuit, StoreUnavailable
from agent_runtime.store.wire import Wire

CONNECT_SECONDS = 1.0
PING_SECONDS = 1.0
RETIRED_SECONDS = 5.0
"""How long calls of a replaced client may still end."""

MAX_CONNECTIONS = 40
"""Those of pipelines, one for the other commands, and those that stalled and were not closed yet."""

MAX_URL_BYTES = 4096
_log = structlog.get_logger("agent_runtime")
_Signatures = tuple[Signature, Signature | None]


class _GuardedPipeline(Pipeline):
    circuit: Circuit

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002 - as the base
        return await self.circuit.call(self._execute, raise_on_error)

    async def _execute(self, raise_on_error: bool) -> list[Any]:  # noqa: FBT001 - as execute
        async with asyncio.timeout(CALL_SECONDS):
            return await super().execute(raise_on_error)


class _Answer:
    """What the library reads the answer to one command from."""

    def __init__(self, wire: Wire, command: tuple[Any, ...]) -> None:
        self._wire = wire
        self._command = command

    async def read_response(self) -> Any:  # noqa: ANN401 - as the library's connection
        return await self._wire.ask(self._command)


class _GuardedRedis(Redis):
    """A client whose every command goes through the circuit, and all but pipelines over one wire."""

    def __init__(self, pool: BlockingConnectionPool, circuit: Circuit) -> None:
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self._circuit = circuit
        self._connecting = asyncio.Lock()
        self._wire: Wire | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the base
        return await self._circuit.call(self._exchange, *args, **options)

    async def _exchange(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as the base
        wire = self._wire
        if wire is None or not wire.usable:
            wire = await self._connected()
        return await self.parse_response(cast("Connection", _Answer(wire, args)), args[0], **options)

    async def _connected(self) -> Wire:
        async with asyncio.timeout(CALL_SECONDS), self._connecting:
            if self._wire is None or not self._wire.usable:
                connection = await self.connection_pool.get_connection()  # type: ignore[no-untyped-call]
                self._wire = Wire(connection, self.connection_pool)
            return self._wire

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - as the base
        if self._wire is not None:
            await self._wire.aclose()
        await super().aclose(close_connection_pool)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:  # noqa: FBT001, FBT002
        pipeline = _GuardedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.circuit = self._circuit
        return pipeline


class Script:
    """One Lua script of the store."""

    def __init__(self, store: Store, source: str) -> None:
        self._store = store
        self._source = source
        self._digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str], args: Sequence[str | int | float | bytes]) -> Any:  # noqa: ANN401 - Lua
        """Run it, loading it if the server does not have it; raises StoreUnavailable, after which it may have run."""
        client = self._store.client
        try:
            return await client.evalsha(self._digest, len(keys), *keys, *args)
        except NoScriptError:
            return await client.eval(self._source, len(keys), *keys, *args)


class ClientSource(Protocol):
    """Where a store gets its client from."""

    def client(self) -> Redis:
        """The client to use now; raises StoreUnavailable."""
        ...

    async def refresh(self) -> None:
        """Notice what has changed."""
        ...

    def report(self) -> StoreReport:
        """Whether the store can be used."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...


class Store:
    """What an agent's pods share; everything in it is named by `key`."""

    def __init__(self, source: ClientSource, namespace: str, agent: str, *, is_shared: bool = True) -> None:
        self.is_shared = is_shared
        """Whether other pods may see what is in it."""
        self._source = source
        self._prefix = f"{{greylag:{namespace}}}:{agent}:"

    @property
    def client(self) -> Redis:
        """The present client, not to be kept: a rotation replaces it. Its commands raise StoreUnavailable."""
        return self._source.client()

    def key(self, *parts: str) -> str:
        """Name of something of this agent; all of a namespace lie in one hash slot."""
        return self._prefix + ":".join(parts)

    def script(self, source: str) -> Script:
        """Script to be made once and called often."""
        return Script(self, source)

    def report(self) -> StoreReport:
        """Whether the store can be used, and why not."""
        return self._source.report()

    async def ping(self) -> None:
        """Look at the Secret and ask for a sign of life; what is wrong shows in `report`."""
        await self._source.refresh()
        try:
            await self.client.ping()
        except StoreUnavailable:
            return

    async def run(self) -> None:
        """Look after the connection, endlessly."""
        while True:
            await self.ping()
            await asyncio.sleep(PING_SECONDS)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._source.aclose()


class _MountedSource:
    """The server whose URL is a mounted Secret; the file may come late, and change.

    In a cluster all our keys are at one node, because they have one hash tag: the one that any node names is followed.
    """

    def __init__(self, directory: Path) -> None:
        self._url_file = directory / STORE_URL_FILE
        self._ca_file = directory / STORE_CA_FILE
        self._circuit = Circuit(self._follow)
        self._options: dict[str, Any] = {}
        self._followed: tuple[str, int] | None = None
        self._client: Redis | None = None
        self._signature: _Signatures | None = None
        self._retired: list[tuple[float, Redis]] = []

    def client(self) -> Redis:
        if self._client is None:
            self._look()
        if self._client is None:
            raise StoreUnavailable(self.report().reason, tried=False)
        return self._client

    async def refresh(self) -> None:
        self._look()
        if self._followed and not self.report().reachable:
            # The node is gone; the one of the URL knows who has taken its place.
            self._followed = None
            self._replace(self._options)
        now = asyncio.get_running_loop().time()
        over = [client for since, client in self._retired if now - since >= RETIRED_SECONDS]
        self._retired = [(since, client) for since, client in self._retired if now - since < RETIRED_SECONDS]
        for client in over:
            await client.aclose()

    def report(self) -> StoreReport:
        return self._circuit.report()

    async def aclose(self) -> None:
        for client in [client for _, client in self._retired] + ([self._client] if self._client else []):
            await client.aclose()

    def _look(self) -> None:
        try:
            signature = (signature_of(self._url_file), _signature_if_there(self._ca_file))
            if signature == self._signature:
                return
            options = _options(_read_url(self._url_file), self._ca_file)
        except OSError:
            # A Secret that was deleted leaves the last URL in force: a running pod is not the place to enforce it.
            if self._client is None:
                self._circuit.failed(f"Secret missing: there is no key {STORE_URL_FILE!r} of the store")
            return
        except ValueError as error:
            self._circuit.failed(str(error))
            return
        if self._client is not None:
            _log.info("store's Secret has changed")
        self._options, self._followed, self._signature = options, None, signature
        self._replace(options)

    def _follow(self, host: str, port: int) -> None:
        if self._followed != (host, port):
            self._followed = (host, port)
            self._replace(self._options | {"host": host, "port": port})

    def _replace(self, options: dict[str, Any]) -> None:
        if self._client is not None:
            self._retired.append((asyncio.get_running_loop().time(), self._client))
        self._client = _GuardedRedis(BlockingConnectionPool(**options), self._circuit)


class _MemorySource:
    """A store in this process's memory, which runs the same scripts."""

    def __init__(self) -> None:
        from fakeredis.aioredis import FakeRedis  # noqa: PLC0415 - only local development needs it

        self._client: Redis = FakeRedis()

    def client(self) -> Redis:
        return self._client

    async def refresh(self) -> None:
        pass

    def report(self) -> StoreReport:
        return StoreReport(reachable=True, was_reached=True)

    async def aclose(self) -> None:
        await self._client.aclose()


def open_store(directory: Path, namespace: str, agent: str) -> Store:
    """Store whose URL, and CA bundle if it has one of its own, are files in a directory. Connects when first used."""
    return Store(_MountedSource(directory), namespace, agent)


def open_memory_store(namespace: str, agent: str) -> Store:
    """Store for local development, gone with the process."""
    return Store(_MemorySource(), namespace, agent, is_shared=False)


def _options(url: str, ca_file: Path) -> dict[str, Any]:
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError:
        # What the parser says quotes the URL.
        raise ValueError("its URL is not one of redis://, rediss:// or unix://") from None
    if url.startswith("rediss://") and ca_file.exists():
        options["ssl_ca_certs"] = str(ca_file)
    return options | {
        "max_connections": MAX_CONNECTIONS,
        "timeout": CALL_SECONDS,
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_SECONDS,
        # The default repeats commands whose answer was lost: a script would run twice.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def _read_url(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_URL_BYTES + 1)
    try:
        url = content.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError("its URL is not ASCII") from None
    if not url or len(content) > MAX_URL_BYTES:
        raise ValueError("its URL is empty or too long")
    return url


def _signature_if_there(path: Path) -> Signature | None:
    try:
        return signature_of(path)
    except FileNotFoundError:
        return None
