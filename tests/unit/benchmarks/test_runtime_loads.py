"""What ledger, streams and memory are measured with."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.ledger import Reading, at_rate
from benchmarks.ledger import summarise as summarise_ledger
from benchmarks.memory import FIRST, LAST
from benchmarks.memory import summarise as summarise_memory
from benchmarks.model_upstream import paced_question
from benchmarks.streams import PARTS, Readings
from benchmarks.streams import summarise as summarise_streams


def reading(milliseconds, failed=0):
    seconds = [milliseconds / 1000] * 3
    return Reading(seconds, seconds, seconds, failed, 0.0004, 0.0002)


def stream(gap, deltas=PARTS):
    return [number * gap for number in range(deltas)]


def test_reserve_and_settle_are_each_held_to_the_bar():
    quick = Reading([0.0004], [0.0006], [0.0], 0, 0.0004, 0.0002)
    outcome = summarise_ledger({"everysec": quick, "always": reading(9)})
    assert {name: bar.met for name, bar in outcome.bars.items()} == {
        "everysecReserveP50Ms": True,
        "everysecSettleP50Ms": False,
        "failed": True,
    }
    assert outcome.figures["alwaysReserveP50Ms"] == 9.0
    assert outcome.figures["everysecCpuMs"] == 0.4


def test_a_call_that_was_not_paid_for_misses_the_bar():
    outcome = summarise_ledger({"everysec": reading(0.1), "always": reading(0.1, failed=1)})
    assert not outcome.bars["failed"].met


async def test_calls_begin_by_the_clock_even_if_none_ends():
    begun, gate = [], asyncio.Event()

    async def call(number, due):
        begun.append((number, due))
        if len(begun) == 20:
            gate.set()
        await gate.wait()

    async with asyncio.timeout(5):
        await at_rate(call, 1000, 0.02)
    assert [number for number, _ in begun] == list(range(20))
    assert begun[19][1] - begun[0][1] == pytest.approx(0.019)


def test_gaps_are_those_within_a_stream_and_the_longest_is_held_to_the_bar():
    outcome = summarise_streams(
        Readings([stream(0.1)], 1.0), Readings([stream(0.1), stream(1.1)], 1.6), still_open=True
    )
    assert outcome.figures["aloneGapMaxMs"] == pytest.approx(100)
    assert outcome.figures["cpuMsPerDelta"] == 10.0
    assert {name: bar.met for name, bar in outcome.bars.items()} == {
        "besideStalledGapMaxMs": False,
        "unfinished": True,
        "stalledEndedEarly": True,
    }


def test_a_stream_without_its_deltas_and_a_stalled_reader_that_ended_miss_their_bars():
    outcome = summarise_streams(Readings([stream(0.1)], 1.0), Readings([stream(0.1), []], 1.0), still_open=False)
    assert not outcome.bars["unfinished"].met
    assert not outcome.bars["stalledEndedEarly"].met


def test_growth_is_from_the_first_reading_to_the_last():
    outcome = summarise_memory({FIRST: 100.0, 50_000: 130.0, LAST: 104.0})
    assert outcome.figures["growthPercent"] == 4.0
    assert outcome.figures["rss50kMb"] == 130.0
    assert outcome.met
    assert not summarise_memory({FIRST: 100.0, LAST: 105.1}).met


def test_paced_questions_of_other_names_are_other_questions():
    assert paced_question(3, 0.1, 5, "a") != paced_question(3, 0.1, 5, "b")
