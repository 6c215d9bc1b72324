"""Three pods spend one budget while one is killed and the store goes away: every micro-dollar is accounted for."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from agent_runtime.llm.client import LedgerUnavailable

ROOT = Path(__file__).parents[3]
BUDGET, WORST, ACTUAL = 400_000, 1000, 700

POD = f"""
import asyncio, sys
from pathlib import Path
from agent_api.live_document import BudgetsDocument, LiveDocument
from agent_runtime.llm.client import BudgetExceeded, LedgerUnavailable
from agent_runtime.money.ledger import Payer, SpendLedger
from agent_runtime.store.connection import open_store

async def main(secret, log, stop):
    live = LiveDocument(budgets=BudgetsDocument(daily_micro={BUDGET}))
    store = open_store(Path(secret), "team-a", "support")
    ledger = SpendLedger(store, "support-5c9f0a1b2d", lambda: live)
    owners = [asyncio.create_task(store.run()), asyncio.create_task(ledger.run())]
    async def calls(n):
        while not stop.exists():
            try:
                hold = await ledger.reserve(Payer(f"run-{{n}}", f"user-{{n}}"), {WORST}, 10, 1)
            except (BudgetExceeded, LedgerUnavailable):
                await asyncio.sleep(0.01)
                continue
            await asyncio.sleep(0.02)
            print(hold.id, file=log, flush=True)
            await ledger.settle(hold, {ACTUAL}, 7)
    await asyncio.gather(*(calls(n) for n in range(4)))
    while ledger.unsettled:
        await asyncio.sleep(0.05)
    await ledger.aclose()

asyncio.run(main(sys.argv[1], open(sys.argv[2], "w"), Path(sys.argv[3])))
"""


def start_pod(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", POD, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def spent(ledger):
    try:
        return (await ledger.spend()).spent_micro
    except LedgerUnavailable:
        assert not ledger.lost
        return 0


async def watch(ledger, seconds):
    """Follow the sum for a while: it never passes the budget."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        assert await spent(ledger) <= BUDGET
        await asyncio.sleep(0.02)


async def test_case_9_nothing_is_lost_and_nothing_overspent(own_redis, open_at, pod, live, tmp_path):
    live.limit(daily_micro=BUDGET)
    store = open_at(own_redis)
    ledger = pod(on=store)
    stop = tmp_path / "stop"
    logs = [tmp_path / f"pod-{number}" for number in range(3)]
    pods = [start_pod(tmp_path / f"store-{own_redis.port}", log, stop) for log in logs]
    try:
        while not all(log.exists() and log.stat().st_size for log in logs):
            await watch(ledger, 0.1)
        pods[0].send_signal(signal.SIGKILL)
        await watch(ledger, 0.5)
        own_redis.stop()
        await watch(ledger, 2)
        own_redis.start()
        await watch(ledger, 2)
        stop.touch()
        assert [await asyncio.to_thread(each.wait, 30) for each in pods] == [-signal.SIGKILL, 0, 0]
    finally:
        for each in pods:
            each.kill()
            each.wait()
    deadline = time.monotonic() + 10
    while await store.client.zcard(store.key("ledger", "holds")):
        assert time.monotonic() < deadline
        await ledger.tend()
        await asyncio.sleep(0.05)
    settled = {line for log in logs for line in log.read_text().split()}
    expected = 0
    async for key in store.client.scan_iter(store.key("ledger", "hold", "*"), count=1000):
        state = await store.client.get(key)
        id_ = key.decode().rpartition(":")[2]
        # Held for ever is charged in full; settled without having been asked was given back.
        expected += WORST if state.startswith(b"h") else ACTUAL * (id_ in settled)
    total = await spent(ledger)
    assert 0 < total == expected <= BUDGET
