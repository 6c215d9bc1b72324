"""A task whose pods are killed in the middle of calls of tools, and all that its reader saw of it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.asking import ask, request
from tests.support.lab import Team, kill, processes_of
from tests.support.shop import Shop, call, steps

TASKS = "/agent/tasks"
READ_SECONDS = 20.0
EVENTS_A_CONNECTION = 7
ENDED = frozenset({"Succeeded", "Failed", "Cancelled"})
LAST = frozenset({"completed", "error", "cancelled"})


@dataclass(frozen=True)
class Step:
    """A quick call and beside it one that takes some seconds, of a tool that may run again or not."""

    seconds: float
    again: bool = False
    killed: str = ""
    """How the task's pod goes in the middle of it: `process` or `pod`."""

    @property
    def words(self) -> str:
        source = "again" if self.again else "shop"
        return call("shop__getOrder", order_id=self.order) + call(f"{source}__waitSeconds", seconds=self.seconds)

    @property
    def order(self) -> str:
        return f"order-{self.seconds}"


@dataclass
class Reader:
    """Follows the events of a task through the gateway, by connections that break after every few of them."""

    url: str
    seen: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def follow(self) -> None:
        while not (self._stop.is_set() or (self.seen and self.seen[-1][1]["type"] in LAST)):
            self.connections += 1
            # A pod that dies cuts the stream, and its gateway may refuse for a moment.
            with contextlib.suppress(OSError):
                self._read()
            time.sleep(0.1)

    def _read(self) -> None:
        last = {"last-event-id": str(self.seen[-1][0])} if self.seen else {}
        with urllib.request.urlopen(urllib.request.Request(self.url, headers=last), timeout=READ_SECONDS) as stream:  # noqa: S310 - an address of our own making
            for count, event in enumerate(_events(stream), start=1):
                self.seen.append(event)
                if count == EVENTS_A_CONNECTION or self._stop.is_set():
                    return


def _events(lines: Iterator[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            number = int(value)
        elif name == "data":
            yield number, json.loads(value)


@contextlib.contextmanager
def _reading(url: str) -> Iterator[Reader]:
    reader = Reader(url)
    thread = threading.Thread(target=reader.follow, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        reader._stop.set()
        thread.join(2 * READ_SECONDS)
        assert not thread.is_alive(), "the reader did not come to an end"


@dataclass(frozen=True)
class Story:
    """How it ended."""

    document: dict[str, Any]
    events: list[tuple[int, dict[str, Any]]]
    connections: int
    killed: list[str]
    seconds: float
    orders: Counter[str]
    waits: Counter[str]

    def outcomes(self) -> Counter[str]:
        """How calls of tools ended, as the reader saw it."""
        return Counter(event["outcome"] for _, event in self.events if event["type"] == "tool.result")


def tell(team: Team, agent: str, plan: list[Step], seconds: float) -> Story:
    """Run a task of these steps with two pods, and kill the one that runs it where the plan says so."""
    shop = Shop(team)
    tools = [shop.api(), shop.api("again", idempotent=["waitSeconds"])]
    policy = {"default": "Allow", "timeout": "60s"}
    team.apply(team.agent(agent, replicas=2, tools=tools, toolPolicy=policy, agent=_LONG))
    team.wait_phase(agent, "Healthy")
    url, began, killed = team.url(agent), time.monotonic(), []
    accepted = ask(url, steps(*(step.words for step in plan)), TASKS)
    assert accepted.status == 202, accepted
    task = accepted.document["task_id"]
    with _reading(f"{url}{TASKS}/{task}/events") as reader:
        for step in plan:
            if step.killed:
                _await_middle(team, shop, reader, step)
                killed.append(_kill(team, agent, task, step.killed))
        document = team.wait_for("the end of the task", lambda: _ended(url, task), seconds)
        team.wait_for("its last event", lambda: reader.seen and reader.seen[-1][1]["type"] in LAST, 30)
    took = time.monotonic() - began
    return Story(
        document, reader.seen, reader.connections, killed, took, shop.calls("getOrder"), shop.calls("waitSeconds")
    )


_LONG = {"instructions": "You answer.", "timeout": "10m", "maxIterations": 50}


def _await_middle(team: Team, shop: Shop, reader: Reader, step: Step) -> None:
    """Until the quick call has ended, as the reader saw, and the slow one has begun."""

    def within() -> bool:
        calls = {event["id"]: event["arguments"] for _, event in list(reader.seen) if event["type"] == "tool.call"}
        ended = [event["id"] for _, event in list(reader.seen) if event["type"] == "tool.result"]
        quick = any(calls.get(number) == {"order_id": step.order} for number in ended)
        return quick and bool(shop.calls("waitSeconds")[json.dumps({"seconds": step.seconds})])

    team.wait_for(f"the middle of {step}", within, 120)


def _kill(team: Team, agent: str, task: str, how: str) -> str:
    pod = _runs_in(team, agent, task)
    if how == "pod":
        team.lab.api.delete(f"/api/v1/namespaces/{team.namespace}/pods/{pod}", gracePeriodSeconds="0")
    else:
        processes = processes_of(pod, "agent_runtime")
        assert processes, f"the process of {pod} was not found"
        for process in processes:
            kill(process)
    return pod


def _runs_in(team: Team, agent: str, task: str) -> str:
    """Pod that took the task up last, as its log says."""
    claims: list[tuple[int, str]] = []
    for pod in team.pods(f"greylag.dev/agent={agent}"):
        name = pod["metadata"]["name"]
        lines = team.lab.kubectl("-n", team.namespace, "logs", name).splitlines()
        claims += [(json.loads(line)["attempt"], name) for line in lines if task in line and "task claimed" in line]
    return max(claims)[1]


def _ended(url: str, task: str) -> dict[str, Any] | None:
    try:
        answer = request(f"{url}{TASKS}/{task}")
    except OSError:
        return None
    return answer.document if answer.status == 200 and answer.document["status"] in ENDED else None


def check(story: Story, plan: list[Step]) -> None:
    """It ended well, no call that had ended ran again, and its reader saw each event once."""
    killed = [step for step in plan if step.killed]
    ended = (story.document["status"], story.document["attempt"], story.document["tool_calls"])
    assert ended == ("Succeeded", 1 + len(killed), 2 * len(plan)), story.document
    # A call in flight runs again if its tool may; else its outcome is unknown to everybody.
    waits = {json.dumps({"seconds": step.seconds}): 2 if step.killed and step.again else 1 for step in plan}
    assert story.waits == Counter(waits), story.waits
    assert story.orders == Counter({json.dumps({"order_id": step.order}): 1 for step in plan}), story.orders
    lost = sum(not step.again for step in killed)
    assert story.outcomes() == Counter(ok=2 * len(plan) - lost, lost=lost), story.outcomes()
    numbers = [number for number, _ in story.events]
    assert numbers == list(range(1, len(numbers) + 1)), numbers
    kinds = Counter(event["type"] for _, event in story.events)
    assert kinds["tool.call"] == kinds["tool.result"] == 2 * len(plan), kinds
    taken_up = (kinds["task.queued"], kinds["task.started"], kinds["task.resumed"], kinds["completed"])
    assert taken_up == (1, 1, len(killed), 1), kinds
    assert story.connections > len(killed), "the reader's connection never broke"
