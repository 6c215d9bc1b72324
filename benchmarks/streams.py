"""Many server-sent event streams through one runtime, while the reader of one does not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import aiohttp

from benchmarks.model_upstream import paced_question
from benchmarks.outcome import Bar, Outcome, spread
from benchmarks.pods import Server, start_redis, start_runtime, start_upstream
from benchmarks.process import usage_of
from benchmarks.questions import RUN_PATH
from demo.errors import DemoError

NAME = "streams"
ABOUT = (
    "200 runs streamed as server-sent events through one runtime at the same time, with everything on (budgets, guards"
    " on each delta, traces, metrics). Each answer comes in 80 parts, one every 150 ms. First all are read (`alone`);"
    " then again, beside one more whose answer is 4 MB and whose reader reads nothing (`besideStalled`). A gap is the"
    " time between two deltas as the client sees them, 150 ms if nothing is in the way; client and upstream share the"
    " machine. `stalledStillOpen` is 1 if the stalled run was still held up when the others had ended: else it proved"
    " nothing."
)
STREAMS = 200
PARTS = 80
PAUSE_SECONDS = 0.15
STALLED_PARTS = 4000
STALLED_CHARACTERS = 1000
GAP_LIMIT_MS = 1000.0
_DELTA_CHARACTERS = 12
_RECEIVE_BUFFER = 4096
_CONNECT_SECONDS = 5.0
_SETTLE_SECONDS = 0.5
_IN_FLIGHT = re.compile(r"^agent_runs_in_flight\{[^}]*\} (\S+)$", re.MULTILINE)
_DELTA, _COMPLETED = b"event: delta\n", b"event: completed\n"


@dataclass(frozen=True, slots=True)
class Readings:
    """Arrival of each delta, by stream, and CPU seconds of the runtime meanwhile."""

    arrivals: Sequence[Sequence[float]]
    cpu_seconds: float

    @property
    def gaps(self) -> list[float]:
        """Seconds between deltas that follow one another in a stream."""
        return [later - earlier for times in self.arrivals for earlier, later in pairwise(times)]

    @property
    def unfinished(self) -> int:
        """Streams that did not end well, or came from memory; a guard may join some deltas."""
        return sum(len(times) < PARTS // 2 for times in self.arrivals)


def measure() -> Outcome:
    """Start a runtime and read the streams.

    Raises:
        DemoError: it does not start or refuses a run.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greylag-bench-")))
        redis = start_redis(stack, folder)
        runtime = start_runtime(stack, folder, start_upstream(stack), redis.port)
        alone, beside, still_open = asyncio.run(_read_twice(runtime))
        return summarise(alone, beside, still_open=still_open)


def summarise(alone: Readings, beside: Readings, *, still_open: bool) -> Outcome:
    """Figures and bars."""
    deltas = sum(len(times) for times in beside.arrivals)
    figures = {
        "streams": len(beside.arrivals),
        **spread("aloneGap", alone.gaps),
        **spread("besideStalledGap", beside.gaps),
        "cpuMsPerDelta": round(beside.cpu_seconds / deltas * 1000, 3),
        "unfinished": alone.unfinished + beside.unfinished,
        "stalledStillOpen": int(still_open),
    }
    bars = {
        "besideStalledGapMaxMs": Bar(figures["besideStalledGapMaxMs"], GAP_LIMIT_MS),
        "unfinished": Bar(figures["unfinished"], 0),
        "stalledEndedEarly": Bar(1 - figures["stalledStillOpen"], 0),
    }
    return Outcome(NAME, figures, bars)


async def _read_twice(runtime: Server) -> tuple[Readings, Readings, bool]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=120)) as session:
        alone = await _read_all(session, runtime, "alone")
        with stalled_reader(runtime.port):
            beside = await _read_all(session, runtime, "beside")
            still_open = await _in_flight(session, runtime) >= 1
    return alone, beside, still_open


async def _read_all(session: aiohttp.ClientSession, runtime: Server, name: str) -> Readings:
    before = usage_of(runtime.process).cpu_seconds
    try:
        arrivals = await asyncio.gather(*(_read(session, runtime, name, number) for number in range(STREAMS)))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoError(f"a stream failed: {error!r}") from error
    return Readings(arrivals, usage_of(runtime.process).cpu_seconds - before)


async def _read(session: aiohttp.ClientSession, runtime: Server, name: str, number: int) -> list[float]:
    """When each delta came; nothing of a stream that did not end well."""
    arrivals: list[float] = []
    body, ended = _body(paced_question(PARTS, PAUSE_SECONDS, _DELTA_CHARACTERS, name), number), False
    async with session.post(runtime.url(RUN_PATH), json=body) as response:
        async for line in response.content:
            if line == _DELTA:
                arrivals.append(time.perf_counter())
            ended |= line == _COMPLETED
    return arrivals if ended else []


def _body(question: str, number: int) -> dict[str, object]:
    return {"query": question, "stream": True, "user_id": f"user-{number}"}


@contextlib.contextmanager
def stalled_reader(port: int) -> Iterator[None]:
    """Ask for an answer larger than all buffers, and read none of it while the block runs."""
    question = paced_question(STALLED_PARTS, 0.001, STALLED_CHARACTERS, "stalled")
    body = json.dumps(_body(question, STREAMS)).encode()
    head = f"POST {RUN_PATH} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    with socket.socket() as reader:
        # Set before it connects, so that the window never opens wider.
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        reader.settimeout(_CONNECT_SECONDS)
        reader.connect(("127.0.0.1", port))
        reader.sendall(head.encode() + b"\r\n\r\n" + body)
        yield


async def _in_flight(session: aiohttp.ClientSession, runtime: Server) -> float:
    """Runs that have not ended, after those whose end is on its way."""
    await asyncio.sleep(_SETTLE_SECONDS)
    async with session.get(runtime.url("/metrics")) as response:
        found = _IN_FLIGHT.search(await response.text())
    return float(found.group(1)) if found else 0.0
