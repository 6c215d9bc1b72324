"""Ten thousand random bodies against every endpoint of a real process that takes one."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("fuzz_mutations", Path(__file__).with_name("mutations.py"))
mutations = importlib.util.module_from_spec(_spec)
sys.modules["fuzz_mutations"] = mutations
_spec.loader.exec_module(mutations)

COUNT = 10_000
AT_ONCE = 24
SECONDS = 90


async def fire(runtime, task_id, shot):
    """Send one; gives what is wrong with the answer, and its status."""
    path = shot.path.format(task=task_id, call="c00100000")
    headers = {**shot.headers, **({} if shot.content_type is None else {"content-type": shot.content_type})}
    async with runtime.http.post(runtime.url + path, data=shot.content, headers=headers) as response:
        text = await response.text()
        return judged(shot, response, text), response.status


def judged(shot, response, text):
    if response.status >= 500:
        return f"status {response.status}: {text[:300]}"
    if response.status < 400:
        return "accepted" if shot.field is not None else ""
    if response.headers.get("content-type") != "application/problem+json":
        return f"no problem document: {text[:200]}"
    document = json.loads(text)
    if document["status"] != response.status or not document["detail"] or "Traceback" in text:
        return f"wrong document: {text[:300]}"
    named = [error["field"] for error in document.get("errors", ())]
    if shot.field is not None and not any(name.startswith(shot.field) for name in named):
        return f"names {named} instead of {shot.field}: {document['detail'][:200]}"
    return ""


@pytest.mark.timeout(240)
async def test_ten_thousand_bodies_are_answered_or_refused_by_a_problem_that_names_the_field(fuzzed):
    status, _, task = await fuzzed.run({"query": '[[call counted__write {"text": "x"}]]'}, path="/agent/tasks")
    assert status == 202
    waiting = iter(mutations.shots(seed=4, count=COUNT))
    wrong, statuses = [], Counter()

    async def gunner():
        for shot in waiting:
            complaint, status = await fire(fuzzed, task["task_id"], shot)
            statuses[status] += 1
            if complaint:
                wrong.append((complaint, shot))

    began = time.monotonic()
    await asyncio.gather(*(gunner() for _ in range(AT_ONCE)))
    assert not wrong, f"{len(wrong)} of {COUNT}: " + "\n".join(
        f"{why[:300]} <- {shot.path} {shot.content[:300]!r} {shot.headers}" for why, shot in wrong[:12]
    )
    assert sum(statuses.values()) == COUNT
    # The bodies are worth something: most are refused, some are good, and each kind of refusal occurs.
    assert 500 < statuses[200] + statuses[202] < COUNT // 2, statuses
    assert {400, 415} <= set(statuses), statuses
    assert time.monotonic() - began < SECONDS
    assert "exception" not in fuzzed.process.output()
    assert (await fuzzed.run())[0] == 200


async def test_bodies_of_the_wrong_length_are_refused_or_cut_off(fuzzed):
    for head, body in (
        (b"content-length: 5", b'{"query": "hi"}'),
        (b"content-length: -1", b"{}"),
        (b"content-length: 99999999999", b"{}"),
        (b"transfer-encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
        (b"content-length: 2\r\ntransfer-encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
    ):
        reader, writer = await fuzzed.connect()
        writer.write(b"POST /agent/run HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + head + b"\r\n\r\n" + body)
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 4"), (head, answer[:200])
    assert (await fuzzed.run())[0] == 200
