"""A whole guarded run against the same work of other libraries, each behind HTTP, in turns in one run."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.outcome import Bar, Outcome
from benchmarks.plot import render_bars
from benchmarks.pods import start_printing, start_redis, start_runtime, start_upstream
from benchmarks.process import usage_of
from benchmarks.questions import RUN_PATH, Questions
from demo.console import ROOT
from demo.errors import DemoError

NAME = "agent_run"
ABOUT = """\
One run is two model calls and one tool call, asked by HTTP, 8 at a time. All sides take turns in one go, against the
same upstream; every question is new. CPU is that of the server process with all its threads; Redis is counted apart
(`redisCpuMs`). `shareOfOpenaiAgents` is the median over rounds of our CPU for a run divided by that of openai-agents:
0.667 means 1.5 times their runs per CPU-second.

| side | what it does in a run |
|---|---|
| `greylag` | the runtime as in a pod: model calls streamed; budgets of request, user and day reserved before and \
settled after each model call in a Redis that writes to disk before it answers; rate limits and a concurrency \
slot there; answer cache looked up (a miss); turn kept for the conversation; input guard with a pattern, redaction \
of secrets in answers and arguments; tool policy with a CEL condition, arguments checked against the schema, output \
marked; retry, circuit breaker, deadlines; metrics, a JSON log line, OpenTelemetry traces sent to a collector |
| `openaiAgents` | openai-agents with uvicorn, uvloop, FastAPI: the loop; no streaming, its tracing off, nothing of \
the rest |
| `litellm` | LiteLLM Router, the plainest loop around it, served alike: the loop and the router's retries |
| `pydanticAi` | pydantic-ai, served alike: the loop and its check of arguments |"""
CPU_LIMIT_MS = 4.0
SHARE_LIMIT = 0.667
ROUNDS = 6
RUNS = 300
WARM_UP = 100
PEERS = {"openaiAgents": "openai_agents_side", "litellm": "litellm_side", "pydanticAi": "pydantic_ai_side"}
OURS = "greylag"
_RIVAL = "openaiAgents"
_INSTALL_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Side:
    """One server: where it is asked, and the process whose CPU counts."""

    url: str
    process: int


@dataclass(slots=True)
class Rounds:
    """CPU seconds a run and runs a second, by side and round; `redis` is what Redis used for a run of ours."""

    cpu: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    redis: list[float] = field(default_factory=list)

    def add(self, side: str, cpu: float, rate: float) -> None:
        """Note a round of a side."""
        self.cpu.setdefault(side, []).append(cpu)
        self.rates.setdefault(side, []).append(rate)


def measure() -> Outcome:
    """Run all sides and take turns.

    Raises:
        DemoError: a side does not start or does not answer.
    """
    python = peers_python()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greylag-bench-")))
        upstream = start_upstream(stack)
        redis = start_redis(stack, folder)
        ours = start_runtime(stack, folder, upstream, redis.port)
        sides = {OURS: Side(ours.url(RUN_PATH), ours.process)}
        for name, module in PEERS.items():
            argv = [str(python), "-m", f"benchmarks.peers.{module}", upstream]
            peer = start_printing(stack, argv, LITELLM_LOCAL_MODEL_COST_MAP="True")
            sides[name] = Side(peer.url("/run"), peer.process)
        return summarise(asyncio.run(_take_turns(sides, redis.process)))


def summarise(rounds: Rounds) -> Outcome:
    """Figures and bars."""
    figures = {f"{side}CpuMs": _ms(found) for side, found in rounds.cpu.items()}
    figures |= {f"{side}RunsPerCpuSecond": round(1 / statistics.median(found)) for side, found in rounds.cpu.items()}
    figures |= {f"{side}RunsPerSecond": round(statistics.median(found), 1) for side, found in rounds.rates.items()}
    figures["redisCpuMs"] = _ms(rounds.redis)
    shares = [ours / theirs for ours, theirs in zip(rounds.cpu[OURS], rounds.cpu[_RIVAL], strict=True)]
    figures["shareOfOpenaiAgents"] = round(statistics.median(shares), 3)
    bars = {
        f"{OURS}CpuMs": Bar(figures[f"{OURS}CpuMs"], CPU_LIMIT_MS),
        "shareOfOpenaiAgents": Bar(figures["shareOfOpenaiAgents"], SHARE_LIMIT),
    }
    return Outcome(NAME, figures, bars)


def plot(figures: Mapping[str, float]) -> str:
    """Picture of the figures, as SVG."""
    sides = {side: figures[f"{side}CpuMs"] for side in (OURS, *PEERS)}
    return render_bars("CPU for one run (two model calls, one tool call)", "ms", sides, limit=CPU_LIMIT_MS)


def _ms(seconds: list[float]) -> float:
    return round(statistics.median(seconds) * 1000, 3)


def peers_python() -> Path:
    """Interpreter with the peers' locked packages, installed once for each lock.

    Raises:
        DemoError: they cannot be installed.
    """
    lock = ROOT / "locks" / "peers.txt"
    folder = ROOT / "build" / "peers"
    stamp = folder / "lock.txt"
    python = folder / "bin" / "python"
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    for argv in (
        [*uv, "venv", "-q", str(folder)],
        [*uv, "pip", "install", "-q", "--python", str(python), "--require-hashes", "-r", str(lock)],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False)
        if done.returncode:
            raise DemoError(f"the peers cannot be installed: {done.stderr.strip()[-300:]}")
    stamp.write_bytes(lock.read_bytes())
    return python


async def _take_turns(sides: Mapping[str, Side], redis: int) -> Rounds:
    rounds, questions = Rounds(), Questions()
    for side in sides.values():
        await questions.ask(side.url, WARM_UP)
    for number in range(ROUNDS):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            before = usage_of(redis).cpu_seconds
            rounds.add(name, *await _round(questions, sides[name]))
            if name == OURS:
                rounds.redis.append((usage_of(redis).cpu_seconds - before) / RUNS)
    return rounds


async def _round(questions: Questions, side: Side) -> tuple[float, float]:
    """CPU seconds a run and runs a second of one round."""
    before, began = usage_of(side.process).cpu_seconds, time.perf_counter()
    await questions.ask(side.url, RUNS)
    rate = RUNS / (time.perf_counter() - began)
    return (usage_of(side.process).cpu_seconds - before) / RUNS, rate
