"""The ledger of money at a steady rate: each model call reserves its worst case and settles what it took."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from agent_api.live_document import LiveDocument
from agent_api.runtime_document import EndpointDocument
from agent_runtime.core.loop import Message
from agent_runtime.core.money import ModelPrice
from agent_runtime.llm.budgeted import BudgetedClient
from agent_runtime.llm.client import ModelAnswer, ModelError, ModelRequest, Run, Usage
from agent_runtime.money.ledger import SpendLedger
from agent_runtime.money.pricing import resolve_price
from agent_runtime.store.connection import open_store
from benchmarks.outcome import Bar, Outcome, spread
from benchmarks.pods import Server, start_redis
from benchmarks.process import usage_of
from demo.errors import DemoError

NAME = "ledger"
ABOUT = (
    "1,000 model calls a second through the layer that pays for them (`BudgetedClient` over a model that answers at"
    " once), 10 seconds long, begun by the clock whether or not earlier ones have ended. Each reserves over all scopes"
    " (cost and tokens of the request, day of the user, day of the agent, share of the canary) in one script, and"
    " settles in another, on a real Redis; at the end the ledger's sum must be that of all calls. `reserve` and"
    " `settle` are the caller's waits. `everysec` is a Redis that writes to disk once a second, as servers do by"
    " default; `always` writes before it answers, as the trial store of the operator does, so that the disk's time is"
    " in each wait. `Late` is by how much calls began later than the clock said: the machine's share."
)
LIMIT_MS = 0.5
RATE = 1000
SECONDS = 10.0
FSYNC = ("everysec", "always")
WARM_UP_SECONDS = 2.0
_REVISION = "bench-5c9f0a1b2d"
_ENDPOINT = {
    "model": "gpt-4o-mini",
    "baseUrl": "http://127.0.0.1:9/v1",
    "maxOutputTokens": 1024,
    "firstTokenSeconds": 20,
    "idleSeconds": 15,
    "totalSeconds": 60,
    "price": {"inputMicro": 150_000, "outputMicro": 600_000},
}
_BUDGETS = {
    "requestMicro": 500_000,
    "requestTokens": 50_000,
    "userDailyMicro": 10**12,
    "dailyMicro": 10**12,
    "canarySharePercent": 20,
}
_USAGE = Usage(420, 40)
_USERS = 1000
_MESSAGES = (Message("system", "You answer questions."), Message("user", "What is the weather in Paris, please?"))


@dataclass(slots=True)
class Reading:
    """Waits in seconds, call by call, calls that were not paid for, and CPU seconds a call."""

    reserve: list[float] = field(default_factory=list)
    settle: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    failed: int = 0
    cpu_seconds: float = 0.0
    redis_seconds: float = 0.0


class _Instant:
    """A model that answers at once, and notes when."""

    def __init__(self) -> None:
        self.asked: dict[str, float] = {}

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer."""
        self.asked[request.request_id] = time.perf_counter()
        return ModelAnswer("Sunny.", "gpt-4o-mini", "stop", _USAGE)


def measure() -> Outcome:
    """Start Redis servers and make the calls.

    Raises:
        DemoError: the sum of a ledger is wrong.
    """
    readings: dict[str, Reading] = {}
    for fsync in FSYNC:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greylag-bench-")))
            redis = start_redis(stack, folder, fsync)
            (folder / "url").write_text(f"redis://127.0.0.1:{redis.port}/0", encoding="ascii")
            # The loop of the runtime.
            readings[fsync] = uvloop.run(_calls(folder, redis))
    return summarise(readings)


def summarise(readings: Mapping[str, Reading]) -> Outcome:
    """Figures and bars from readings by how Redis writes to disk."""
    figures: dict[str, float] = {"callsPerSecond": RATE}
    for fsync, reading in readings.items():
        figures |= spread(f"{fsync}Reserve", reading.reserve)
        figures |= spread(f"{fsync}Settle", reading.settle)
        figures |= spread(f"{fsync}Late", reading.late)
        figures[f"{fsync}CpuMs"] = round(reading.cpu_seconds * 1000, 3)
        figures[f"{fsync}RedisCpuMs"] = round(reading.redis_seconds * 1000, 3)
    figures["failed"] = sum(reading.failed for reading in readings.values())
    bars = {name: Bar(figures[name], LIMIT_MS) for name in ("everysecReserveP50Ms", "everysecSettleP50Ms")}
    return Outcome(NAME, figures, {**bars, "failed": Bar(figures["failed"], 0)})


async def _calls(folder: Path, redis: Server) -> Reading:
    store = open_store(folder, "bench", "bench")
    live = LiveDocument.model_validate({"budgets": _BUDGETS, "canaryRevision": _REVISION})
    ledger = SpendLedger(store, _REVISION, lambda: live)
    endpoint = EndpointDocument.model_validate(_ENDPOINT)
    price, model = _price(endpoint), _Instant()
    client = BudgetedClient(endpoint, model, price, ledger, lambda: live)
    warm, reading = Reading(), Reading()
    await at_rate(_caller(client, model, warm), RATE, WARM_UP_SECONDS)
    before, redis_before = time.process_time(), usage_of(redis.process).cpu_seconds
    await at_rate(_caller(client, model, reading), RATE, SECONDS)
    made = max(1, len(reading.settle))
    reading.cpu_seconds = (time.process_time() - before) / made
    reading.redis_seconds = (usage_of(redis.process).cpu_seconds - redis_before) / made
    reading.failed += warm.failed
    await ledger.tend()
    paid, spent = len(warm.settle) + len(reading.settle), (await ledger.spend()).spent_micro
    if spent != paid * price.cost(_USAGE):
        raise DemoError(f"the ledger says {spent} micro-dollars for {paid} calls")
    await store.aclose()
    return reading


def _caller(
    client: BudgetedClient, model: _Instant, reading: Reading
) -> Callable[[int, float], Coroutine[Any, Any, None]]:
    async def call(number: int, due: float) -> None:
        run = Run(f"{id(reading)}-{number}", asyncio.get_running_loop().time() + 60, user=f"user-{number % _USERS}")
        begun = time.perf_counter()
        try:
            await client.complete(ModelRequest(_MESSAGES, run))
        except ModelError:
            reading.failed += 1
            return
        answered = model.asked.pop(run.request_id)
        reading.late.append(max(0.0, begun - due))
        reading.reserve.append(answered - begun)
        reading.settle.append(time.perf_counter() - answered)

    return call


def _price(endpoint: EndpointDocument) -> ModelPrice:
    price = resolve_price(endpoint, datetime.now(UTC))
    if price is None:
        raise DemoError("the price of the benchmark's model is not known")
    return price


async def at_rate(call: Callable[[int, float], Coroutine[Any, Any, None]], rate: float, seconds: float) -> None:
    """Begin calls by the clock, each told its number and when it was due, and wait for all."""
    total, begun, made = round(rate * seconds), time.perf_counter(), 0
    async with asyncio.TaskGroup() as group:
        while made < total:
            due = min(total, int((time.perf_counter() - begun) * rate) + 1)
            for number in range(made, due):
                group.create_task(call(number, begun + number / rate))
            made = max(made, due)
            await asyncio.sleep(max(0.0, begun + made / rate - time.perf_counter()))
