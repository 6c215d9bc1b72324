"""Tasks survive the pods that run them: real processes, killed in the middle."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent_runtime.core.task_state import TaskState
from tests.support.redis import write_secret

ROOT = Path(__file__).parents[3]
STEPS = 8
CALL_SECONDS = 0.3


@dataclass
class Pods:
    """Processes by pod name, and the diary of what they did."""

    folder: Path
    diary: Path
    processes: dict[str, subprocess.Popen[bytes]]

    def start(self, pod: str) -> None:
        self.processes[pod] = subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).with_name("worker_process.py"))),
                *(str(self.folder), pod, str(self.diary), str(STEPS), str(CALL_SECONDS)),
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
            stdout=subprocess.DEVNULL,
        )

    def kill(self, pod: str) -> None:
        self.processes[pod].kill()
        self.processes[pod].wait(10)

    def entries(self) -> list[list[str]]:
        return [line.split() for line in self.diary.read_text().splitlines()] if self.diary.exists() else []


@pytest.fixture
def pods(tmp_path, redis_server):
    group = Pods(write_secret(tmp_path / "secret", redis_server.url), tmp_path / "diary", {})
    yield group
    for process in group.processes.values():
        process.kill()
        process.wait(10)


@pytest.fixture
def running_pod(tasks, store, until):
    """Name of the pod that has the task, once it is in a new attempt and within a call."""

    async def find(task_id, attempt, pods):
        async def within():
            view = await tasks.view(task_id, None)
            pod = await store.client.hget(f"{tasks._base}:{task_id}", "pod")
            if view.state is not TaskState.RUNNING or view.attempt < attempt or pod is None:
                return None
            own = [entry for entry in pods.entries() if entry[0] == pod.decode()]
            begun = Counter(entry[2] for entry in own if entry[1] == "begin")
            ended = Counter(entry[2] for entry in own if entry[1] == "end")
            return pod.decode() if len(ended) >= 2 and begun - ended else None

        return await until(within)

    return find


async def follow(feed, task_id, events):
    """Read like a client whose connection breaks after every few events, and that continues after the last it saw."""
    while not (events and events[-1].terminal):
        batch = await feed.after(task_id, events[-1].number if events else 0, 30)
        events += batch[:3]


async def test_task_whose_pod_is_killed_twice_completes_and_runs_no_finished_call_again(
    pods, tasks, order, feed, running_pod, until_state
):
    for pod in ("pod-1", "pod-2", "pod-3"):
        pods.start(pod)
    task_id = (await tasks.create(order())).task_id
    events = []
    reader = asyncio.create_task(follow(feed, task_id, events))
    killed = []
    for attempt in (1, 2):
        pod = await running_pod(task_id, attempt, pods)
        pods.kill(pod)
        killed.append(pod)
    view = await until_state(task_id, TaskState.SUCCEEDED, seconds=40)
    await asyncio.wait_for(reader, 10)

    assert view.attempt == 3
    assert len(set(killed)) == 2
    assert view.result == {"steps": STEPS, "tool_messages": 1 + STEPS * 3}
    history = {}
    for _, what, call, *_ in pods.entries():
        history.setdefault(call, []).append(what)
    assert len(history) == 2 * STEPS
    for call, happened in history.items():
        if call.endswith("0"):
            # A pod may die after the result is kept and before its diary has the end.
            assert happened in (["begin", "end"], ["begin", "unknown"], ["begin"]), (call, happened)
        else:
            assert "end" not in happened[:-1], (call, happened)
    assert sum("unknown" in happened for happened in history.values()) >= 1

    numbers = [event.number for event in events]
    assert numbers == list(range(1, len(numbers) + 1))
    shown = Counter((e.document["type"], e.document["id"]) for e in events if e.document["type"].startswith("tool."))
    calls = [f"c{step:03}{place:05}" for step in range(1, STEPS + 1) for place in (0, 1)]
    assert shown == Counter({(kind, call): 1 for kind in ("tool.call", "tool.result") for call in calls})
    kinds = Counter(event.document["type"] for event in events)
    assert (kinds["task.started"], kinds["task.resumed"], kinds["run.started"], kinds["completed"]) == (1, 2, 1, 1)


async def test_pod_that_is_asked_to_go_loses_nothing(pods, tasks, order, running_pod, until_state):
    pods.start("pod-1")
    task_id = (await tasks.create(order())).task_id
    await running_pod(task_id, 1, pods)
    pods.start("pod-2")
    began = time.monotonic()
    pods.processes["pod-1"].terminate()
    view = await until_state(task_id, TaskState.SUCCEEDED, seconds=40)
    assert pods.processes["pod-1"].wait(10) == 0
    assert time.monotonic() - began < 15
    assert view.attempt == 2
    entries = pods.entries()
    assert Counter(what for _, what, *_ in entries) == {"begin": 2 * STEPS, "end": 2 * STEPS}
    assert {pod for pod, *_ in entries} == {"pod-1", "pod-2"}
