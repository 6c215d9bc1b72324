"""Identical questions whose answers may not be kept, asked of real processes by HTTP."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.faulty_provider import BEGIN, answers, calls_tool, streams
from tests.support.runtimes import document_of, endpoint_of

ASKED = {"query": "What is new?", "user_id": "ann"}
HOLDS = streams(BEGIN, 60.0)
FIRST = {
    "made with a tool": (calls_tool("counted__look", {"text": "x"}), answers()),
    "cut": (answers("Hel", finish_reason="length"),),
}


@pytest.fixture
async def pods(start_runtime, provider, tools, redis_server):
    document = document_of(
        endpoint_of("gpt-x", provider.base_url),
        cache={"ttlSeconds": 600, "scope": "User"},
        tools=[tools.source()],
        toolPolicy={"default": "Allow"},
    )
    return [await start_runtime(document, store=redis_server) for _ in range(2)]


@pytest.mark.parametrize("first", FIRST)
async def test_questions_are_run_side_by_side_after_an_answer_that_may_not_be_kept(pods, provider, first):
    provider.script("gpt-x", *FIRST[first], HOLDS)
    assert (await pods[0].run(ASKED))[0] == 200
    questions = [asyncio.create_task(pods[number % 2].run(ASKED)) for number in range(4)]
    try:
        await provider.until(lambda: provider.in_flight == 4)
    finally:
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)
