"""Start, readiness and end of the process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import aiohttp
import pytest


async def test_missing_key_makes_it_unready_and_its_arrival_ready(start_runtime, provider, document_of, tmp_path):
    runtime = await start_runtime(document_of(provider.base_url, "gpt-x"), ready="/health", GREYLAG_CREDENTIALS="0")
    status, text = await runtime.get("/ready")
    assert status == 503
    assert json.loads(text)["reasons"] == ["Secret key for model gpt-x (position 0) is missing"]
    (tmp_path / "credentials" / "0").mkdir(parents=True)
    (tmp_path / "credentials" / "0" / "api-key").write_text("sk-1")
    assert (await runtime.get("/ready"))[0] == 200


@pytest.mark.parametrize(
    ("content", "environment", "named"),
    [
        (None, {}, "No such file"),
        ('{"agent": "a"}', {}, "revision: Field required"),
        ("{}", {"GREYLAG_PORT": "0"}, "port"),
    ],
)
def test_bad_start_exits_with_one_line_that_names_the_cause(tmp_path, content, environment, named):
    document = tmp_path / "document.json"
    if content is not None:
        document.write_text(content)
    ended = subprocess.run(
        [sys.executable, "-m", "agent_runtime"],
        env={"GREYLAG_DOCUMENT": str(document), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    (line,) = ended.stdout.splitlines()
    assert named in json.loads(line)["cause"]


async def test_signal_makes_it_unready_while_it_still_serves(start_runtime, provider, document_of):
    runtime = await start_runtime(document_of(provider.base_url), GREYLAG_LAME_DUCK_SECONDS="2")
    runtime.process.terminate()

    async def unready():
        return (await runtime.get("/ready"))[0] == 503

    await runtime.until(unready, seconds=2)
    status, headers, _ = await runtime.run()
    assert (status, headers["connection"]) == (200, "close")
    assert await runtime.process.exit_code() == 0


async def test_run_in_flight_is_finished_after_the_listener_has_closed(
    start_runtime, provider, document_of, reply, wire
):
    provider.replies = {"gpt-x": [reply(parts=(1.5, wire["answer"], wire["end"]))]}
    runtime = await start_runtime(document_of(provider.base_url, "gpt-x"))
    running = asyncio.create_task(runtime.run())
    await asyncio.wait_for(provider.called.wait(), 5)
    runtime.process.terminate()

    async def closed():
        try:
            await runtime.get("/health")
        except aiohttp.ClientConnectionError:
            return True
        return False

    await runtime.until(closed, seconds=3)
    assert not running.done()
    assert (await running)[0] == 200
    assert await runtime.process.exit_code() == 0


async def test_second_signal_cuts_the_lame_duck_time_short(start_runtime, provider, document_of):
    runtime = await start_runtime(document_of(provider.base_url), GREYLAG_LAME_DUCK_SECONDS="60")
    runtime.process.terminate()

    async def unready():
        return (await runtime.get("/ready"))[0] == 503

    await runtime.until(unready, seconds=5)
    runtime.process.terminate()
    assert await runtime.process.exit_code() == 0


async def test_no_request_is_dropped_by_a_termination_under_load(start_runtime, model_server, document_of):
    document = document_of(f"{model_server.url}/v1", "good-v1")
    old = await start_runtime(document, GREYLAG_LAME_DUCK_SECONDS="1.5")
    new = await start_runtime(document)
    statuses, stop = [], asyncio.Event()
    target = old

    async def client():
        while not stop.is_set():
            statuses.append((await target.run())[0])

    clients = [asyncio.create_task(client()) for _ in range(8)]
    try:
        await asyncio.sleep(0.5)
        old.process.terminate()

        async def unready():
            return (await old.get("/ready"))[0] == 503

        await old.until(unready, seconds=3)
        # A gateway notices an unready pod some time later, and sends requests until then.
        await asyncio.sleep(0.7)
        served_unready = len(statuses)
        target = new
        assert await old.process.exit_code() == 0
        await asyncio.sleep(0.3)
    finally:
        stop.set()
        await asyncio.gather(*clients)
    assert set(statuses) == {200}
    assert len(statuses) > served_unready > 50
    assert {line["outcome"] for line in old.process.lines("run")} == {"ok"}
