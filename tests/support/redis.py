"""A real Redis of a test's own: a process on a free loopback port, that can be stopped, frozen and emptied."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis

START_SECONDS = 10


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


class RedisServer:
    """One redis-server; its data outlives `stop` and `start`, as with the trial store."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def folder(self) -> Path:
        return self._folder

    def admin(self, **options: object) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, **options)

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "redis-server",
                    *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""),
                    *("--appendonly", "yes", "--appendfsync", "always"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        self._until_answers()

    def stop(self) -> None:
        """Kill it, as a node that goes down does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_SECONDS)
            self._process = None

    def freeze(self) -> None:
        """Let it accept connections and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        with self.admin() as client:
            client.flushall()

    def save_copy(self) -> Path:
        """Keep the data as they are now, for `restore_copy`."""
        copy = self._folder.with_name(self._folder.name + "-copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._folder, copy)
        return copy

    def restore_copy(self, copy: Path) -> None:
        """Come back with older data, as after a failover to a replica that lagged."""
        self.stop()
        shutil.rmtree(self._folder)
        shutil.copytree(copy, self._folder)
        self.start()

    def _until_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16)[:1] in {b"+", b"-"}:  # "-": it wants a password first, and is up
                        return
            except OSError:
                pass
            assert time.monotonic() < deadline, (self._folder / "redis.log").read_text()
            time.sleep(0.02)


@contextlib.contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A server for the length of a block; `options` are further ones of redis-server."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def write_secret(directory: Path, url: str) -> Path:
    """Write the Secret of a store as the kubelet mounts it."""
    directory.mkdir(parents=True, exist_ok=True)
    staged = directory / ".url"
    staged.write_text(url)
    staged.replace(directory / "url")
    return directory
