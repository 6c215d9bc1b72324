"""The trial store's container command with the Redis of this machine: what it guards, and that it ends in order."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from agent_operator.core.resources.store import make_store_template
from tests.support.agents import installation

PASSWORD = "p4ss-w0rd_of-the-store"
WAIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Started:
    """The container's process, its port, its folder, and its readiness probe."""

    process: subprocess.Popen[bytes]
    port: int
    data: Path
    probe: list[str]
    liveness: list[str]

    def client(self, password: str | None = PASSWORD) -> redis.Redis:
        return redis.Redis(port=self.port, password=password, socket_timeout=5)

    def is_ready(self) -> bool:
        return subprocess.run(self.probe, check=False, capture_output=True, timeout=5).returncode == 0

    def is_alive(self) -> bool:
        return subprocess.run(self.liveness, check=False, capture_output=True, timeout=5).returncode == 0


def placed(command: list[str], folder: Path, port: int) -> list[str]:
    """The command as in the container, with this test's folders and port."""
    text = command[-1].replace("/var/run/greylag-store", str(folder)).replace("6379", str(port))
    return [*command[:-1], text.replace("dir /data", f"dir {folder}/data").replace("bind * -::*", "bind 127.0.0.1")]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    (container,) = make_store_template(installation(store_max_memory="8mb"))["spec"]["containers"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    (tmp_path / "data").mkdir()
    (tmp_path / "password").write_text(PASSWORD, encoding="ascii")
    process = subprocess.Popen(placed(container["command"], tmp_path, port), stdout=subprocess.DEVNULL)
    probe, liveness = (
        placed(container[name]["exec"]["command"], tmp_path, port) for name in ("readinessProbe", "livenessProbe")
    )
    store = Started(process, port, tmp_path / "data", probe, liveness)
    deadline = time.monotonic() + WAIT_SECONDS
    while not store.is_ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield store
    process.kill()
    process.wait(WAIT_SECONDS)


def test_nobody_gets_in_without_the_password(started):
    with pytest.raises(redis.AuthenticationError):
        started.client(None).ping()
    with pytest.raises(redis.AuthenticationError):
        started.client("wrong").ping()
    assert started.client().ping()


def test_the_password_is_not_among_the_arguments(started):
    assert started.process.pid
    arguments = Path(f"/proc/{started.process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    assert arguments.startswith("redis-server")
    assert PASSWORD not in arguments


def test_what_was_acknowledged_is_on_disk(started):
    started.client().set("spent", "12")
    assert b"spent" in b"".join(path.read_bytes() for path in started.data.rglob("*.aof"))
    wanted = {"appendfsync": "always", "appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""}
    assert {name: started.client().config_get(name)[name] for name in wanted} == wanted


def test_a_full_store_refuses_and_forgets_nothing(started):
    client = started.client()
    client.set("spent", "12")
    with pytest.raises(redis.OutOfMemoryError):
        client.mset({f"k{number}": "x" * 10_000 for number in range(1_000)}) and client.set("more", "x")
    assert client.get("spent") == b"12"


def test_a_redis_that_began_with_another_password_is_started_anew(started):
    assert started.is_alive()
    (started.data.parent / "password").write_text("another", encoding="ascii")
    assert not started.is_ready()
    assert not started.is_alive()


def test_it_ends_at_once_when_it_is_asked_to(started):
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait(WAIT_SECONDS) == 0
