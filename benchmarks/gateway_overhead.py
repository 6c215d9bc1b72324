"""The gateway against a bare Envoy in front of the same upstream, on loopback, in turns."""

from __future__ import annotations

import contextlib
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.envoys import CANARY, EPOCH, bare_files, gateway_files, running_envoy, stop
from benchmarks.http1 import BadMessageError, Connection, count_answers, make_request
from benchmarks.outcome import Bar, Outcome
from demo.console import ROOT
from demo.errors import DemoError

NAME = "gateway_overhead"
ABOUT = (
    "POST /agent/run with a small JSON body, one kept connection, to the upstream itself, to a bare Envoy (one"
    " route, one cluster) and to an Envoy with the gateway's own rendered configuration in the middle of a canary"
    " (pins, split, body lift). `New` carries no conversation, `Continued` one of the canary in its body. Rounds"
    " of 50 requests take turns; a difference is the median over rounds of gateway p50 less bare p50. Client and"
    " upstream are Python, the same for all sides: `directP50Ms` is their own share. At 16 connections they are"
    " the larger part of the work on this machine, which pulls `ratio` towards 1."
)
_LIMIT_MS = 0.2
_ROUNDS = 60
_REQUESTS = 50
_WARM_UP = 500
_THROUGHPUT_ROUNDS = 10
_THROUGHPUT_SECONDS = 0.5
_CONNECTIONS = 16
_PATH = "/agent/run"
_TURN = {"query": "Where is my parcel? The number is 4711.", "user_id": "user-17"}
REQUESTS = {
    "New": make_request(_PATH, _TURN),
    "Continued": make_request(_PATH, {**_TURN, "conversation_id": f"{CANARY}.{EPOCH}.0f2b6c1d"}),
}


@dataclass(frozen=True, slots=True)
class Ports:
    """Where each side listens."""

    direct: int
    bare: int
    gateway: int


def measure() -> Outcome:
    """Run both Envoys and take turns.

    Raises:
        DemoError: a side does not answer.
    """
    try:
        with _sides() as ports:
            rounds = _take_turns(ports)
            rates = _throughput(ports)
    except (OSError, BadMessageError) as error:
        raise DemoError(f"an answer failed: {error}") from error
    return summarise(rounds, rates)


def summarise(rounds: Mapping[str, list[float]], rates: Mapping[str, list[float]]) -> Outcome:
    """Figures and bars from the rounds' medians in seconds, and the answers a second, by side."""
    figures = {f"{side}P50Ms": _ms(statistics.median(medians)) for side, medians in rounds.items()}
    for kind in REQUESTS:
        pairs = zip(rounds[f"gateway{kind}"], rounds[f"bare{kind}"], strict=True)
        figures[f"difference{kind}Ms"] = _ms(statistics.median(gateway - bare for gateway, bare in pairs))
    figures |= {f"{side}AnswersPerSecond": round(statistics.median(found)) for side, found in rates.items()}
    ratios = [gateway / bare for gateway, bare in zip(rates["gateway"], rates["bare"], strict=True)]
    figures["ratio"] = round(statistics.median(ratios), 3)
    bars = {name: Bar(figures[name], _LIMIT_MS) for name in (f"difference{kind}Ms" for kind in REQUESTS)}
    return Outcome(NAME, figures, bars)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 4)


@contextlib.contextmanager
def _sides() -> Iterator[Ports]:
    with tempfile.TemporaryDirectory(prefix="greylag-bench-") as name, _upstream() as upstream:
        bare, gateway, admin, door = free_ports(4)
        folder = Path(name)
        request = REQUESTS["New"]
        files = gateway_files(folder / "gateway", gateway, admin, door, upstream)
        with (
            running_envoy(folder / "bare", bare_files(bare, upstream), bare, request),
            running_envoy(folder / "gateway", files, gateway, request),
        ):
            yield Ports(upstream, bare, gateway)


@contextlib.contextmanager
def _upstream() -> Iterator[int]:
    argv = [sys.executable, "-m", "benchmarks.upstream"]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    try:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise DemoError("the upstream did not start")
        yield int(line)
    finally:
        stop(process)
        for stream in filter(None, (process.stdin, process.stdout)):
            stream.close()


def free_ports(count: int) -> list[int]:
    """Different ports of loopback that nothing listens on now."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


def _take_turns(ports: Ports) -> dict[str, list[float]]:
    """Median seconds of each round, by side and kind of request."""
    sides = {"direct": (ports.direct, REQUESTS["New"])}
    for kind, request in REQUESTS.items():
        sides[f"bare{kind}"] = (ports.bare, request)
        sides[f"gateway{kind}"] = (ports.gateway, request)
    medians: dict[str, list[float]] = {side: [] for side in sides}
    with contextlib.ExitStack() as stack:
        kept = {side: stack.enter_context(contextlib.closing(Connection(port))) for side, (port, _) in sides.items()}
        for side, (_, request) in sides.items():
            _round(kept[side], request, _WARM_UP)
        for number in range(_ROUNDS):
            for side in list(sides) if number % 2 == 0 else reversed(list(sides)):
                medians[side].append(_round(kept[side], sides[side][1], _REQUESTS))
    return medians


def _round(connection: Connection, request: bytes, requests: int) -> float:
    return statistics.median(connection.exchange(request) for _ in range(requests))


def _throughput(ports: Ports) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {"bare": [], "gateway": []}
    for _ in range(_THROUGHPUT_ROUNDS):
        for side, port in (("bare", ports.bare), ("gateway", ports.gateway)):
            rates[side].append(count_answers(port, REQUESTS["Continued"], _CONNECTIONS, _THROUGHPUT_SECONDS))
    return rates
