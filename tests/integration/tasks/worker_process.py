"""A pod of its own process, made to be killed: `worker_process.py <store folder> <pod> <diary> <steps> <seconds>`.

In each step the model asks for two calls that take the given time; the diary gets a line when one begins and when it
ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from agent_runtime.core.events import RunStarted, TextDelta, ToolCalled, ToolEnded
from agent_runtime.core.loop import Message, ToolCall
from agent_runtime.core.progress import Progress
from agent_runtime.store.connection import open_store
from agent_runtime.tasks.records import TaskLimits
from agent_runtime.tasks.runner import Finished
from agent_runtime.tasks.store import TaskStore
from agent_runtime.tasks.worker import TaskWorker

REVISION = "support-5c9f0a1b2d"
TOOLS = ("mail_send", "kb_read")


class Diarist:
    def __init__(self, pod: str, diary: Path, steps: int, seconds: float) -> None:
        self._pod = pod
        self._steps = steps
        self._seconds = seconds
        self._diary = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, *words: str) -> None:
        os.write(self._diary, (" ".join((self._pod, *words)) + "\n").encode())

    async def run(self, task, progress, journal, emit, approved, rejected, unknown):
        await emit(RunStarted(task.request_id, "", task.revision))
        state = progress or Progress((Message("user", "go"),))
        while True:
            if state.messages[-1].tool_calls:
                state = await self._call_tools(state, journal, emit, unknown)
            if state.iterations == self._steps:
                return Finished({"steps": state.iterations, "tool_messages": len(state.messages)})
            await emit(TextDelta(f"step {state.iterations + 1} of {self._pod}. "))
            number = state.iterations + 1
            calls = tuple(ToolCall(f"c{number:03}{place:05}", name, "{}") for place, name in enumerate(TOOLS))
            messages = (*state.messages, Message("assistant", "", calls))
            state = Progress(messages, iterations=number, tool_calls=state.tool_calls)
            await journal.answered(state)

    async def _call_tools(self, state, journal, emit, unknown):
        results = dict(state.results)
        contents = await asyncio.gather(*(self._call(call, journal, emit, unknown) for call in state.pending))
        results.update(zip((call.id for call in state.pending), contents, strict=True))
        calls = state.messages[-1].tool_calls
        answers = tuple(Message("tool", results[call.id], tool_call_id=call.id) for call in calls)
        return replace(state, messages=(*state.messages, *answers), results={}, started=frozenset())

    async def _call(self, call, journal, emit, unknown):
        if call.id in unknown:
            self.note("unknown", call.id)
            await journal.tool_ended(call, "unknown")
            await emit(ToolEnded(call.id, call.name, "lost", 0))
            return "unknown"
        await emit(ToolCalled(call.id, call.name, {}))
        await journal.tool_started(call, 0)
        self.note("begin", call.id, call.name)
        await asyncio.sleep(self._seconds)
        await journal.tool_ended(call, "done")
        self.note("end", call.id, call.name)
        await emit(ToolEnded(call.id, call.name, "ok", 1))
        return "done"


async def main(folder: str, pod: str, diary: str, steps: str, seconds: str) -> None:
    store = open_store(Path(folder), "team-a", "support")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    worker = TaskWorker(
        TaskStore(store, TaskLimits(lease=1.0, adoption=0.6)),
        Diarist(pod, Path(diary), int(steps), float(seconds)),
        pod=pod,
        revision=REVISION,
        idempotent=lambda call: call.name == "kb_read",
        grace_seconds=2,
    )
    worker.start()
    await stop.wait()
    await worker.stop()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
