"""What makes a process grow, and what comes into it by way of packages (cases 21 and 22)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from pathlib import Path

import aiohttp
import pytest

from tests.support.faulty_provider import answers, ends_early, refuses, stalls
from tests.support.runtimes import document_of, endpoint_of, price_of

ROOT = Path(__file__).parents[3]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
ONCE = {"maxAttempts": 1}
MEBIBYTE = 1024 * 1024


async def test_case_21_memory_does_not_grow_with_runs_failures_and_streams_that_were_left(
    start_runtime, provider, standing_redis
):
    document = document_of(
        *(endpoint_of(model, provider.base_url, **price_of(1, 2)) for model in ("gpt-x", "gpt-y")),
        retry=ONCE,
        cache={"ttlSeconds": 1, "scope": "User"},
    )
    live = {"budgets": {"dailyMicro": 10**12}, "rateLimits": {"maxConcurrent": 1000}}
    runtime = await start_runtime(document, store=standing_redis, live=live)
    counter = iter(range(10**6))

    async def one():
        number = next(counter)
        body = {"query": f"question {number} " + "x" * 1000, "user_id": f"user-{number}", "stream": number % 3 == 0}
        async with runtime.http.post(f"{runtime.url}/agent/run", json=body) as response:
            if number % 9 == 0:
                await response.content.readany()
                response.close()
            else:
                await response.read()

    async def many(count):
        async def client():
            for _ in range(count // 20):
                with contextlib.suppress(aiohttp.ClientError):
                    await one()

        await asyncio.gather(*(client() for _ in range(20)))

    provider.script("gpt-x", *[answers("x" * 2000), refuses(500), ends_early(), stalls(0.2)] * 600)
    await many(400)
    before = runtime.process.resident_bytes()
    await many(1600)
    await runtime.until(lambda: _none_in_flight(runtime), 20)
    grown = runtime.process.resident_bytes() - before
    # 1,600 runs that kept 15 KiB each would be seen; the allocator's own swing is not.
    assert grown < 24 * MEBIBYTE, f"grew by {grown / MEBIBYTE:.1f} MiB"
    assert await runtime.metric('agent_requests_total{outcome="ok"}') > 1200


async def _none_in_flight(runtime):
    return await runtime.in_flight() == 0


def requirements(lock):
    """Names of a lock with everything that is said of them."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", "\n" + lock.read_text())
    return [block.strip() for block in blocks if block.strip() and not block.strip().startswith("#")]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_case_22_every_package_of_a_lock_is_pinned_with_hashes_and_no_lock_names_an_index(lock):
    pinned = requirements(lock)
    assert len(pinned) > 5
    for block in pinned:
        assert re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==\S+", block), block[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), block[:80]
    text = lock.read_text()
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host|(^|\s)-[if]\s", text)


@pytest.mark.parametrize("name", ["runtime.txt", "operator.txt", "gateway.txt", "dev.txt"])
def test_case_22_no_gateway_of_others_with_a_history_of_stolen_credentials_is_in_what_we_ship(name):
    names = {re.match(r"[A-Za-z0-9._-]+", block)[0].lower() for block in requirements(ROOT / "locks" / name)}
    assert not names & {"litellm", "litellm-proxy-extras", "openai-agents", "portkey-ai"}
    assert len(names) > 5


def test_case_22_releases_that_held_the_stealer_are_refused_where_the_package_is_a_peer():
    peers = (ROOT / "locks" / "peers.in").read_text()
    assert "litellm!=1.82.7,!=1.82.8" in peers
    pins = re.findall(r"(?m)^litellm==(\S+)", (ROOT / "locks" / "peers.txt").read_text())
    assert pins
    assert not {"1.82.7", "1.82.8"} & set(pins)


def test_case_22_images_install_nothing_without_its_hash():
    installs = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if "install" in line and "pip" in line]
    assert installs
    for line in installs:
        if "/locks/" in line:
            assert "--require-hashes" in line
