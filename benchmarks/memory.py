"""Memory of one runtime process over many runs. Takes long."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.outcome import Bar, Outcome
from benchmarks.pods import Server, start_redis, start_runtime, start_upstream
from benchmarks.process import usage_of
from benchmarks.questions import RUN_PATH, Questions
from demo.errors import DemoError

NAME = "memory"
ABOUT = (
    "Resident memory of one runtime process with everything on, 8 runs at a time (two model calls and one tool call"
    " each), every question and conversation new, 1,000 users. `rss<N>kMb` is its memory after N thousand runs, with no"
    " run in flight; growth is that from 5,000 to 100,000."
)
GROWTH_LIMIT_PERCENT = 5.0
FIRST, STEP, LAST = 5_000, 5_000, 100_000
_USERS = 1000
_REST_SECONDS = 2.0
_LONGEST_SECONDS = 2 * 3600
_THOUSAND = 1000


def measure() -> Outcome:
    """Start a runtime and ask it.

    Raises:
        DemoError: a run has no answer, or the time is over.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greylag-bench-")))
        redis = start_redis(stack, folder)
        runtime = start_runtime(stack, folder, start_upstream(stack), redis.port)
        return summarise(asyncio.run(_read(runtime)))


def summarise(resident: Mapping[int, float]) -> Outcome:
    """Figures and bars from MB by number of runs."""
    growth = round((resident[LAST] / resident[FIRST] - 1) * 100, 2)
    figures = {f"rss{runs // _THOUSAND}kMb": round(mb, 1) for runs, mb in resident.items()}
    return Outcome(NAME, {**figures, "growthPercent": growth}, {"growthPercent": Bar(growth, GROWTH_LIMIT_PERCENT)})


async def _read(runtime: Server) -> dict[int, float]:
    resident: dict[int, float] = {}
    questions, deadline = Questions(_USERS), time.monotonic() + _LONGEST_SECONDS
    for runs in range(FIRST, LAST + 1, STEP):
        if time.monotonic() > deadline:
            raise DemoError(f"{runs - STEP} runs took {_LONGEST_SECONDS} seconds")
        await questions.ask(runtime.url(RUN_PATH), STEP)
        # What ends after the answer, such as the sending of traces, is not yet free.
        await asyncio.sleep(_REST_SECONDS)
        resident[runs] = usage_of(runtime.process).resident_mb
    return resident
