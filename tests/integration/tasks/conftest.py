"""Tasks on a real Redis, with all times short."""

from __future__ import annotations

import asyncio
import time

import pytest

from agent_runtime.core.loop import Message, ToolCall
from agent_runtime.core.progress import Progress
from agent_runtime.tasks.feed import EventFeed
from agent_runtime.tasks.records import TaskLimits, TaskOrder
from agent_runtime.tasks.store import TaskStore
from agent_runtime.tasks.worker import TaskWorker
from tests.support.store_fixtures import open_at, own_redis, redis_server, standing_redis, store

__all__ = ["open_at", "own_redis", "redis_server", "standing_redis", "store"]

REVISION = "support-5c9f0a1b2d"


def short_limits(**changes):
    return TaskLimits(**{"lease": 1.0, "adoption": 0.6, "retention": 60, **changes})


@pytest.fixture
def limits():
    return short_limits


@pytest.fixture
def tasks(store):
    return TaskStore(store, short_limits())


@pytest.fixture
def order():
    def build(query="hi", **changes):
        return TaskOrder(**{"request": {"query": query}, "user": "ann", "revision": REVISION, **changes})

    return build


@pytest.fixture
async def feed(store, tasks):
    reader = EventFeed(store, tasks)
    reader.start()
    yield reader
    await reader.stop()


@pytest.fixture
async def start_worker(tasks):
    """Starts workers, which end with the test."""
    workers = []

    def start(runner, *, pod="pod-1", revision=REVISION, store=tasks, idempotent=lambda _call: False, **options):
        worker = TaskWorker(store, runner, pod=pod, revision=revision, idempotent=idempotent, **options)
        worker.start()
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        await worker.stop()


@pytest.fixture
def until():
    async def wait(condition, seconds=15):
        deadline = time.monotonic() + seconds
        while not (found := await condition()):
            assert time.monotonic() < deadline, "the condition did not come true"
            await asyncio.sleep(0.02)
        return found

    return wait


@pytest.fixture
def until_state(tasks, until):
    async def wait(task_id, *states, seconds=15):
        async def reached():
            view = await tasks.view(task_id, None)
            return view if view.state in states else None

        return await until(reached, seconds)

    return wait


@pytest.fixture
def all_events(feed):
    async def read(task_id, after=0):
        events = []
        while not (events and events[-1].terminal):
            batch = await feed.after(task_id, events[-1].number if events else after, 15)
            assert batch, f"no end after {events}"
            events += batch
        return events

    return read


def asking(*names, iterations=1):
    """Progress in which the model has just asked for calls; ids are those of the agent's loop."""
    calls = tuple(ToolCall(f"c{iterations:03}{place:05}", name, "{}") for place, name in enumerate(names))
    return Progress((Message("user", "hi"), Message("assistant", "", calls)), iterations=iterations)


@pytest.fixture
def asking_for():
    return asking
