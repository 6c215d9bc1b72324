"""The ledger holds and settles: never more than a limit, and every micro-dollar once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent_runtime.llm.client import BudgetExceeded, LedgerUnavailable
from agent_runtime.money import scripts

ROOT = Path(__file__).parents[3]


async def admitted(attempts):
    results = await asyncio.gather(*attempts, return_exceptions=True)
    holds = [result for result in results if not isinstance(result, BaseException)]
    assert all(isinstance(result, BudgetExceeded) for result in results if isinstance(result, BaseException)), results
    return holds


async def test_case_1_of_400_concurrent_calls_exactly_those_are_admitted_that_fit(ledger, live, payer):
    live.limit(daily_micro=33_000)
    holds = await admitted(ledger.reserve(payer(f"run-{n}", f"user-{n}"), 1000, 10, 60) for n in range(400))
    assert len(holds) == 33
    assert (await ledger.spend()).spent_micro == 33_000


@pytest.mark.parametrize(
    ("limits", "scope"),
    [
        ({"request_micro": 5000}, "request"),
        ({"request_tokens": 50}, "request"),
        ({"user_daily_micro": 5000}, "user"),
        ({"daily_micro": 5000}, "agent"),
    ],
)
async def test_every_scope_refuses_and_then_nothing_is_held_in_any(ledger, live, payer, limits, scope):
    live.limit(**limits)
    for _ in range(5):
        await ledger.reserve(payer(), 1000, 10, 60)
    with pytest.raises(BudgetExceeded) as raised:
        await ledger.reserve(payer(), 1000, 10, 60)
    assert raised.value.scope == scope
    assert "spec.budgets." in str(raised.value)
    assert (await ledger.spend()).spent_micro == 5000


async def test_refusal_by_the_last_scope_leaves_the_others_untouched(ledger, live, payer, store):
    live.limit(request_micro=10**6, user_daily_micro=10**6, daily_micro=999)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(payer(), 1000, 10, 60)
    live.limit(request_micro=1000, user_daily_micro=1000, daily_micro=1000)
    await ledger.reserve(payer(), 1000, 10, 60)


async def test_users_do_not_pay_for_each_other(ledger, live, payer):
    live.limit(user_daily_micro=1000)
    await ledger.reserve(payer(user="ann"), 1000, 1, 60)
    with pytest.raises(BudgetExceeded) as raised:
        await ledger.reserve(payer(user="ann"), 1, 1, 60)
    assert 0 < raised.value.reset_seconds <= 86_400
    await ledger.reserve(payer(user="bob"), 1000, 1, 60)


async def test_a_limit_that_is_set_later_knows_what_was_spent_before(ledger, live, payer):
    await ledger.settle(ledger.unreserved(payer()), 700, 7)
    live.limit(user_daily_micro=1000)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(payer(), 301, 1, 60)


async def test_what_a_run_took_elsewhere_counts(ledger, live, payer):
    live.limit(request_micro=1000, request_tokens=100)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(payer(run_micro=600), 500, 1, 60)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(payer(run_tokens=60), 1, 50, 60)
    await ledger.reserve(payer(run_micro=600, run_tokens=60), 400, 40, 60)


async def test_a_run_taken_over_by_another_pod_keeps_its_limit(pod, live, payer):
    live.limit(request_micro=1000)
    first, second = pod(), pod()
    await first.settle(await first.reserve(payer(), 900, 1, 60), 800, 1)
    with pytest.raises(BudgetExceeded):
        await second.reserve(payer(), 201, 1, 60)
    await second.reserve(payer(), 200, 1, 60)


async def test_settling_frees_what_was_not_taken(ledger, live, payer):
    live.limit(daily_micro=1000, user_daily_micro=1000, request_micro=1000, request_tokens=100)
    await ledger.settle(await ledger.reserve(payer(), 1000, 100, 60), 100, 10)
    assert (await ledger.spend()).spent_micro == 100
    await ledger.reserve(payer(), 900, 90, 60)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(payer(), 1, 0, 60)


async def test_settling_twice_changes_nothing(ledger, live, payer):
    live.limit(daily_micro=10_000)
    hold = await ledger.reserve(payer(), 1000, 10, 60)
    for _ in range(3):
        await ledger.settle(hold, 300, 3)
    assert ledger.unsettled == 0
    assert (await ledger.spend()).spent_micro == 300


async def test_settling_more_than_was_held_is_counted_as_it_was(ledger, live, payer):
    live.limit(daily_micro=10_000)
    await ledger.settle(await ledger.reserve(payer(), 1000, 10, 60), 1200, 12)
    assert (await ledger.spend()).spent_micro == 1200


async def test_a_replayed_reservation_is_one(ledger, live, payer, monkeypatch):
    live.limit(daily_micro=10_000)
    monkeypatch.setattr("agent_runtime.money.ledger.secrets.token_hex", lambda _bytes: "same")
    holds = await asyncio.gather(*(ledger.reserve(payer(), 1000, 10, 60) for _ in range(5)))
    assert len({hold.id for hold in holds}) == 1
    assert (await ledger.spend()).spent_micro == 1000


async def test_a_reservation_that_arrives_after_it_was_given_up_is_not_made(ledger, live, payer, monkeypatch):
    live.limit(daily_micro=10_000)
    await ledger.spend()
    monkeypatch.setattr("agent_runtime.money.ledger.secrets.token_hex", lambda _bytes: "late")
    hold = ledger.unreserved(payer())
    await ledger.settle(hold, 0, 0)
    with pytest.raises(LedgerUnavailable, match="given up"):
        await ledger.reserve(payer(), 1000, 10, 60)
    assert (await ledger.spend()).spent_micro == 0


async def test_a_reservation_cancelled_under_way_holds_nothing(ledger, live, payer):
    live.limit(daily_micro=10**9)
    await ledger.spend()
    for _ in range(30):
        task = asyncio.create_task(ledger.reserve(payer(), 1000, 10, 60))
        await asyncio.sleep(0.0002)
        task.cancel()
        held = await asyncio.gather(task, return_exceptions=True)
        if not isinstance(held[0], BaseException):
            await ledger.settle(held[0], 0, 0)
    await ledger.aclose()
    assert (await ledger.spend()).spent_micro == 0


async def test_case_8_a_hold_whose_lease_ended_is_charged_in_full_and_corrected_by_a_late_settlement(
    ledger, live, payer, store
):
    live.limit(daily_micro=10_000)
    hold = await ledger.reserve(payer(), 1000, 10, 0.05)
    assert await store.client.zcard(store.key("ledger", "holds")) == 1
    await asyncio.sleep(0.06)
    with capture_logs() as logs:
        assert (await ledger.spend()).spent_micro == 1000
    assert [line["calls"] for line in logs if "never settled" in line["event"]] == [1]
    assert await store.client.zcard(store.key("ledger", "holds")) == 0
    for _ in range(2):
        await ledger.settle(hold, 400, 4)
    assert (await ledger.spend()).spent_micro == 400


async def test_canary_spend_is_counted_and_never_refused(pod, live, payer):
    live.limit(daily_micro=10_000, canary_share_percent=1)
    live.canary("support-canary")
    stable, canary = pod(), pod("support-canary")
    await stable.settle(await stable.reserve(payer(), 1000, 1, 60), 1000, 1)
    await canary.settle(await canary.reserve(payer(), 5000, 1, 60), 3000, 1)
    report = await stable.spend()
    assert (report.spent_micro, report.canary_micro, report.canary_revision) == (4000, 3000, "support-canary")


async def test_exhausted_is_told_once_a_call_did_not_fit_or_the_limit_is_reached(pod, live, payer):
    live.limit(daily_micro=1000)
    first, second = pod(), pod()
    hold = await first.reserve(payer(), 1000, 1, 60)
    assert not first.exhausted
    with pytest.raises(BudgetExceeded):
        await first.reserve(payer(), 1, 1, 60)
    assert first.exhausted
    await first.settle(hold, 1000, 1)
    await second.spend()
    assert second.exhausted


async def test_exhausted_is_told_no_more_once_the_limit_was_raised_or_taken_away(ledger, live, payer):
    live.limit(daily_micro=1000)
    await ledger.reserve(payer(), 1000, 1, 60)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve(payer(), 1, 1, 60)
    live.limit(daily_micro=999)
    assert ledger.exhausted
    live.limit(daily_micro=1001)
    assert not ledger.exhausted
    live.limit()
    assert not ledger.exhausted


@pytest.mark.parametrize("limit", ["daily_micro", "user_daily_micro"])
async def test_call_dearer_than_a_whole_day_is_told_no_time_and_uses_no_day_up(ledger, live, payer, limit):
    live.limit(**{limit: 1000})
    with pytest.raises(BudgetExceeded, match="maxOutputTokens") as raised:
        await ledger.reserve(payer(), 1001, 1, 60)
    assert raised.value.reset_seconds is None
    assert not ledger.exhausted
    await ledger.reserve(payer(), 1000, 1, 60)


async def test_every_key_expires(ledger, live, payer, store):
    live.limit(daily_micro=10**6, user_daily_micro=10**6, request_micro=10**6)
    live.canary("support-5c9f0a1b2d")
    await ledger.reserve(payer(), 1000, 1, 60)
    await ledger.settle(await ledger.reserve(payer(), 1000, 1, 60), 10, 1)
    await ledger.spend()
    keys = [key async for key in store.client.scan_iter("*")]
    assert len(keys) == 8
    assert {key.split(b":ledger")[0] for key in keys} == {b"{greylag:team-a}:support"}
    for key in keys:
        assert 0 < await store.client.ttl(key) <= scripts.LEDGER_KEY_SECONDS, key
    assert not any(b"ann" in key or b"run-1" in key for key in keys)


async def test_sequence_rises_with_every_change(pod, payer):
    first, second = pod(), pod()
    seen = [(await first.spend()).sequence]
    for ledger in (first, second, first):
        await ledger.settle(ledger.unreserved(payer()), 10, 1)
        seen.append((await second.spend()).sequence)
    assert seen == sorted(set(seen))
    assert (await first.spend()).epoch == (await second.spend()).epoch


POD = """
import asyncio, json, sys
from pathlib import Path
from agent_api.live_document import BudgetsDocument, LiveDocument
from agent_runtime.llm.client import BudgetExceeded
from agent_runtime.money.ledger import Payer, SpendLedger
from agent_runtime.store.connection import open_store

async def main(secret, hang):
    live = LiveDocument(budgets=BudgetsDocument(daily_micro=100_000))
    ledger = SpendLedger(open_store(Path(secret), "team-a", "support"), "support-5c9f0a1b2d", lambda: live)
    admitted = 0
    async def call(n):
        nonlocal admitted
        try:
            hold = await ledger.reserve(Payer(f"run-{n}", f"user-{n % 7}"), 1000, 10, 2)
        except BudgetExceeded:
            return
        admitted += 1
        if hang:
            print("held", flush=True)
            await asyncio.Event().wait()
        await asyncio.sleep(0.001)
        await ledger.settle(hold, 700, 7)
    await asyncio.gather(*(call(n) for n in range(400)))
    print(json.dumps({"admitted": admitted, "spent": (await ledger.spend()).spent_micro}), flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2] == "hang"))
"""


def start_pod(secret, *, hang=False):
    return subprocess.Popen(
        [sys.executable, "-c", POD, str(secret), "hang" if hang else "settle"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def test_case_2_three_processes_share_one_budget(redis_server, ledger, live, tmp_path):
    live.limit(daily_micro=100_000)
    secret = tmp_path / f"store-{redis_server.port}"
    await ledger.spend()
    pods = [start_pod(secret) for _ in range(3)]
    outputs = [pod.communicate(timeout=60)[0] for pod in pods]
    admitted = sum(json.loads(output.splitlines()[-1])["admitted"] for output in outputs)
    spent = (await ledger.spend()).spent_micro
    assert spent == admitted * 700
    assert spent <= 100_000
    assert admitted >= 100


async def test_case_8_a_killed_pod_pays_in_full(redis_server, ledger, live, tmp_path, store):
    live.limit(daily_micro=100_000)
    await ledger.spend()
    pod = start_pod(tmp_path / f"store-{redis_server.port}", hang=True)
    held = 0
    while held < 100:
        held += pod.stdout.readline() == b"held\n"
    pod.send_signal(signal.SIGKILL)
    pod.wait(10)
    pod.stdout.close()
    assert (await ledger.spend()).spent_micro == 100_000
    deadline = time.monotonic() + 10
    while await store.client.zcard(store.key("ledger", "holds")):
        assert time.monotonic() < deadline
        await ledger.tend()
        await asyncio.sleep(0.05)
    assert (await ledger.spend()).spent_micro == 100_000
