"""The routes of tasks over HTTP, with a real worker and Redis behind them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from http import HTTPStatus
from types import SimpleNamespace

import aiohttp
import pytest
import uvicorn
from fastapi import FastAPI

from agent_runtime.core.conversation_ids import ConversationIds
from agent_runtime.core.events import ApprovalRequired, RunStarted, TextDelta
from agent_runtime.core.task_state import TaskState
from agent_runtime.envelope import Envelope
from agent_runtime.errors import Problem, ProblemType
from agent_runtime.routes.tasks import TaskDesk, tasks_router
from agent_runtime.tasks.feed import EventFeed
from agent_runtime.tasks.runner import Finished, Waiting
from agent_runtime.tasks.store import TaskStore

IDS = ConversationIds("support-5c9f0a1b2d", (b"k" * 32,))
REVISION = "support-5c9f0a1b2d"
PARTS = 6


class Agent:
    """Answers in parts when told to, asks for an approval when the question says so."""

    def __init__(self, asking_for):
        self.go = asyncio.Event()
        self._asking_for = asking_for

    async def run(self, task, progress, journal, emit, approved, rejected, unknown):
        if "approval" in task.request["query"] and progress is None:
            progress = self._asking_for("mail.send")
            await journal.answered(progress)
            await emit(ApprovalRequired("c00100000", "mail.send", {"to": "bob"}))
            return Waiting(progress, progress.pending)
        await emit(RunStarted(task.request_id, task.conversation_id or "", task.revision))
        for number in range(PARTS):
            await self.go.wait()
            await emit(TextDelta(f"part {number}. "))
            await asyncio.sleep(0.12)
        return Finished({"answer": "done", "approved": sorted(approved), "rejected": sorted(rejected)})


async def by_bearer(request):
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not token:
        raise Problem(
            ProblemType.UNAUTHORIZED,
            HTTPStatus.UNAUTHORIZED,
            "Send a bearer token.",
            headers={"www-authenticate": "Bearer"},
        )
    return token


class Client:
    def __init__(self, url, http, user):
        self.url, self._http, self._headers = url, http, {"authorization": f"Bearer {user}"} if user else {}

    async def call(self, method, path="", body=None, headers=None, raw=None):
        options = {"data": raw} if raw is not None else {"json": body}
        async with self._http.request(
            method, f"{self.url}/agent/tasks{path}", headers=self._headers | (headers or {}), **options
        ) as response:
            return response.status, response.headers, await response.json(content_type=None)

    async def create(self, query="hi", **options):
        status, _, document = await self.call("POST", body={"query": query}, **options)
        assert status == 202, document
        return document["task_id"]

    @contextlib.asynccontextmanager
    async def stream(self, task_id, last=None):
        headers = self._headers | ({} if last is None else {"last-event-id": str(last)})
        async with self._http.get(f"{self.url}/agent/tasks/{task_id}/events", headers=headers) as response:
            yield response

    async def events(self, task_id, last=None, most=10**6):
        """Events as (id, name, document); the connection is closed after `most` of them."""
        found = []
        async with self.stream(task_id, last) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            block = {}
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    block[name] = value
                elif "data" in block:
                    found.append((block.get("id"), block["event"], json.loads(block["data"])))
                    block = {}
                    if len(found) >= most:
                        break
        return found


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


@pytest.fixture
async def serve():
    """Serves routers of tasks; they end with the test."""
    running = []

    async def start(desk):
        app = FastAPI()
        app.include_router(tasks_router(desk))
        app.add_middleware(Envelope, revision=REVISION, drain=SimpleNamespace(begun=False))
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1))
        running.append((server, asyncio.create_task(server.serve([listener])), listener))
        while not server.started:
            await asyncio.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, task, listener in running:
        server.should_exit = True
        await task
        listener.close()


@pytest.fixture
def agent(asking_for):
    return Agent(asking_for)


@pytest.fixture
async def desk(tasks, feed, agent, start_worker):
    worker = start_worker(agent)
    return TaskDesk(tasks, feed, by_bearer, IDS, worker.poke)


@pytest.fixture
async def url(desk, serve):
    return await serve(desk)


@pytest.fixture
def ann(url, http):
    return Client(url, http, "ann")


@pytest.fixture
def bob(url, http):
    return Client(url, http, "bob")


async def ended(client, task_id, until):
    async def read():
        document = (await client.call("GET", f"/{task_id}"))[2]
        return document if TaskState(document["status"]).terminal else None

    return await until(read)


async def test_task_is_accepted_with_its_place_and_conversation(ann):
    status, headers, document = await ann.call("POST", body={"query": "hi"})
    assert status == 202
    assert headers["location"] == f"tasks/{document['task_id']}"
    assert document["status"] == "Queued"
    assert document["conversation_id"].startswith(f"{REVISION}.0.")
    assert headers["x-conversation-id"] == document["conversation_id"]


async def test_task_goes_on_with_the_callers_conversation(ann):
    conversation = (await ann.call("POST", body={"query": "hi"}))[2]["conversation_id"]
    by_header = await ann.call("POST", body={"query": "hi"}, headers={"x-conversation-id": conversation})
    by_body = await ann.call("POST", body={"query": "hi", "conversation_id": conversation})
    assert by_header[2]["conversation_id"] == by_body[2]["conversation_id"] == conversation


async def test_result_is_read_when_it_is_there(ann, agent, until):
    task_id = await ann.create()
    assert (await ann.call("GET", f"/{task_id}"))[2]["result"] is None
    agent.go.set()
    document = await ended(ann, task_id, until)
    assert (document["status"], document["result"]["answer"], document["problem"]) == ("Succeeded", "done", None)


async def test_same_key_is_the_same_task_and_another_body_a_conflict(ann):
    key = {"idempotency-key": "k-1"}
    made = await asyncio.gather(*(ann.call("POST", body={"query": "hi"}, headers=key) for _ in range(10)))
    assert len({document["task_id"] for _, _, document in made}) == 1
    assert {status for status, _, _ in made} == {202}
    assert len({document["conversation_id"] for _, _, document in made}) == 1
    status, headers, problem = await ann.call("POST", body={"query": "other"}, headers=key)
    assert (status, headers["content-type"]) == (409, "application/problem+json")
    assert problem["type"] == "urn:greylag:problem:idempotency-conflict"
    assert problem["task_id"] == made[0][2]["task_id"]


async def test_stream_shows_everything_in_order_and_ends_with_the_task(ann, agent):
    task_id = await ann.create()
    agent.go.set()
    events = await ann.events(task_id)
    assert [int(number) for number, _, _ in events] == list(range(1, len(events) + 1))
    names = [name for _, name, _ in events]
    assert names[:3] == ["task.queued", "task.started", "run.started"]
    assert names[-1] == "completed"
    said = "".join(document["text"] for _, name, document in events if name == "delta")
    assert said == "".join(f"part {number}. " for number in range(PARTS))
    assert events[-1][2]["result"]["answer"] == "done"


async def test_stream_that_breaks_again_and_again_loses_and_repeats_nothing(ann, agent):
    task_id = await ann.create()
    agent.go.set()
    seen = []
    while not seen or seen[-1][1] != "completed":
        seen += await ann.events(task_id, last=seen[-1][0] if seen else None, most=2)
    assert seen == await ann.events(task_id)


async def test_stream_of_an_ended_task_whose_end_was_seen_ends_at_once(ann, agent):
    task_id = await ann.create()
    agent.go.set()
    events = await ann.events(task_id)
    assert await asyncio.wait_for(ann.events(task_id, last=events[-1][0]), 5) == []


async def test_reader_who_comes_too_late_for_a_part_is_told(store, limits, feed, order, serve, http):
    tasks = TaskStore(store, limits(max_events=100))
    url = await serve(TaskDesk(tasks, feed, by_bearer, IDS, lambda: None))
    await tasks.create(order())
    claim = await tasks.claim(REVISION, "pod-1", may_adopt=False)
    for number in range(10):
        await tasks.emit(claim, number + 1, [("", {"type": "delta", "text": "x"})] * 50)
    await tasks.finish(claim, Finished({}))
    events = await Client(url, http, "ann").events(claim.task.id, last=5)
    number, name, document = events[0]
    assert (number, name, document["first"]) == (None, "events.lost", 6)
    assert [int(number) for number, _, _ in events[1:]] == list(range(document["last"] + 1, 504))


async def test_silent_stream_is_kept_alive(ann, monkeypatch):
    monkeypatch.setattr("agent_runtime.routes.task_events.KEEP_ALIVE_SECONDS", 0.5)
    task_id = await ann.create()
    async with ann.stream(task_id) as response:
        async for line in response.content:
            if line.startswith(b":"):
                break


async def test_streams_end_when_the_pod_goes(tasks, feed, serve, http):
    leaving = {"now": False}
    desk = TaskDesk(tasks, feed, by_bearer, IDS, lambda: None, draining=lambda: leaving["now"])
    ann = Client(await serve(desk), http, "ann")
    reader = asyncio.create_task(ann.events(await ann.create()))
    await asyncio.sleep(0.3)
    leaving["now"] = True
    assert [name for _, name, _ in await asyncio.wait_for(reader, 5)] == ["task.queued"]


async def test_running_task_is_cancelled(ann, until):
    task_id = await ann.create()

    async def running():
        return (await ann.call("GET", f"/{task_id}"))[2]["status"] == "Running"

    await until(running)
    status, _, document = await ann.call("POST", f"/{task_id}/cancel")
    assert (status, document["cancel_requested"]) == (202, True)
    assert (await ended(ann, task_id, until))["status"] == "Cancelled"
    assert (await ann.call("POST", f"/{task_id}/cancel"))[0] == 202


async def test_ended_task_is_not_cancelled(ann, agent, until):
    agent.go.set()
    task_id = await ann.create()
    await ended(ann, task_id, until)
    status, _, problem = await ann.call("POST", f"/{task_id}/cancel")
    assert (status, problem["type"]) == (409, "urn:greylag:problem:task-state")
    assert "Succeeded" in problem["detail"]


async def waits(client, task_id, until):
    async def read():
        document = (await client.call("GET", f"/{task_id}"))[2]
        return document if document["status"] == "WaitingForApproval" else None

    return await until(read)


@pytest.mark.parametrize(("decision", "approved"), [("approve", ["c00100000"]), ("reject", [])])
async def test_person_decides_about_a_call(ann, agent, until, decision, approved):
    agent.go.set()
    task_id = await ann.create("needs approval")
    document = await waits(ann, task_id, until)
    assert document["waiting_for"] == [{"id": "c00100000", "name": "mail.send", "arguments": {"to": "bob"}}]
    body = {"decision": decision, "reason": "because"}
    status, _, document = await ann.call("POST", f"/{task_id}/approvals/c00100000", body=body)
    assert status == 200
    assert document["waiting_for"] == []
    document = await ended(ann, task_id, until)
    assert document["result"]["approved"] == approved
    (kept,) = document["decisions"]
    assert (kept["who"], kept["reason"], kept["approved"]) == ("ann", "because", bool(approved))
    assert (await ann.call("POST", f"/{task_id}/approvals/c00100000", body=body))[0] in (200, 409)


async def test_tasks_of_another_user_do_not_exist(ann, bob, until):
    task_id = await ann.create("needs approval")
    await waits(ann, task_id, until)
    body = {"decision": "approve"}
    for method, path, sent in (
        ("GET", f"/{task_id}", None),
        ("GET", f"/{task_id}/events", None),
        ("POST", f"/{task_id}/cancel", None),
        ("POST", f"/{task_id}/approvals/c00100000", body),
    ):
        status, _, problem = await bob.call(method, path, body=sent)
        assert (status, problem["type"]) == (404, "urn:greylag:problem:task-not-found"), path
    assert (await ann.call("GET", f"/{task_id}"))[2]["status"] == "WaitingForApproval"


async def test_nobody_without_a_credential_gets_in(url, http):
    nobody = Client(url, http, "")
    for method, path in (("POST", ""), ("GET", ""), ("GET", "/x"), ("GET", "/x/events"), ("POST", "/x/cancel")):
        status, headers, _ = await nobody.call(method, path, body={"query": "hi"} if method == "POST" else None)
        assert (status, headers["www-authenticate"]) == (401, "Bearer"), path


async def test_without_access_everybody_sees_a_task_and_says_who_he_is(tasks, feed, serve, http):
    async def off(_request):
        return None

    client = Client(await serve(TaskDesk(tasks, feed, off, IDS, lambda: None)), http, "")
    task_id = (await client.call("POST", body={"query": "hi", "user_id": "carl"}))[2]["task_id"]
    assert (await client.call("GET", f"/{task_id}"))[0] == 200
    assert (await tasks.claim(REVISION, "pod", may_adopt=False)).task.user == "carl"


@pytest.mark.parametrize(
    "path",
    ["/x", "/" + "a" * 25, "/abcdefghijklmnopqrst%3Aevs", "/..%2F..", "/%00", "/ünïcödé", "/abcdefghijklmnopqrstuvwx"],
)
async def test_ids_that_are_none_are_not_found(ann, path):
    for method, rest, body in (
        ("GET", "", None),
        ("GET", "/events", None),
        ("POST", "/cancel", None),
        ("POST", "/approvals/c00100000", {"decision": "approve"}),
    ):
        status, _, problem = await ann.call(method, path + rest, body=body)
        assert status == 404, (method, path + rest, problem)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ("{", ""),
        ("[]", ""),
        ('{"decision": "maybe"}', "decision"),
        ('{"decision": "approve", "reason": 3}', "reason"),
        ('{"decision": "approve", "by": "me"}', "by"),
        ("{}", "decision"),
    ],
)
async def test_bad_decision_is_refused_by_field(ann, raw, field):
    headers = {"content-type": "application/json"}
    status, _, problem = await ann.call("POST", f"/{'a' * 24}/approvals/c", raw=raw, headers=headers)
    assert status == 400
    assert [error["field"] for error in problem["errors"]] == [field]


async def test_bad_headers_are_refused_by_name(ann):
    status, _, problem = await ann.call("POST", body={"query": "hi"}, headers={"idempotency-key": "x" * 256})
    assert (status, [error["field"] for error in problem["errors"]]) == (400, ["idempotency-key"])
    assert "idempotency-key" in problem["detail"]
    for last in ("x", "-1", "1-0", "9" * 16):
        status, _, problem = await ann.call("GET", f"/{await ann.create()}/events", headers={"last-event-id": last})
        assert (status, [error["field"] for error in problem["errors"]]) == (400, ["last-event-id"])
        assert "last-event-id" in problem["detail"]


async def test_reader_who_has_seen_what_never_was_is_told_the_newest_id(ann, agent):
    task_id = await ann.create()
    agent.go.set()
    newest = len(await ann.events(task_id))
    headers = {"last-event-id": str(newest + 1)}
    status, _, problem = await ann.call("GET", f"/{task_id}/events", headers=headers)
    assert (status, problem["type"]) == (400, "urn:greylag:problem:invalid-request")
    message = f"{newest + 1} is above the newest id, {newest}; send the last id that this task's stream has shown"
    assert problem["errors"] == [{"field": "last-event-id", "message": message}]


async def listed(client, query="", headers=None):
    status, _, document = await client.call("GET", query, headers=headers)
    assert status == 200, document
    return [task["task_id"] for task in document["tasks"]]


async def test_who_decides_finds_what_waits(ann, agent, until):
    task_id = await ann.create("needs approval")
    await waits(ann, task_id, until)
    other = await ann.create()
    assert await listed(ann) == [other, task_id]
    status, _, document = await ann.call("GET", "?status=WaitingForApproval&limit=50")
    assert status == 200
    (task,) = document["tasks"]
    assert (task["task_id"], task["status"]) == (task_id, "WaitingForApproval")
    assert task["waiting_for"] == [{"id": "c00100000", "name": "mail.send", "arguments": {"to": "bob"}}]
    assert not set(task) & {"result", "problem", "messages", "request", "decisions", "ended"}
    whole = (await ann.call("GET", f"/{task_id}"))[2]
    assert {name: whole[name] for name in task} == task


async def test_task_that_has_ended_is_in_no_list(ann, agent, until):
    agent.go.set()
    await ended(ann, await ann.create(), until)
    assert await listed(ann) == []


async def test_list_shows_no_task_of_another_user_whatever_is_asked(ann, bob):
    task_id = await ann.create()
    assert await listed(ann) == [task_id]
    for query, headers in (
        ("", {}),
        ("?user_id=ann", {}),
        ("", {"x-user-id": "ann"}),
        ("?status=Queued&limit=100", {}),
    ):
        assert await listed(bob, query, headers) == [], query


async def test_list_without_access_is_of_the_user_that_is_named(tasks, feed, serve, http):
    async def off(_request):
        return None

    anybody = Client(await serve(TaskDesk(tasks, feed, off, IDS, lambda: None)), http, "")
    carls = (await anybody.call("POST", body={"query": "hi", "user_id": "carl"}))[2]["task_id"]
    nobodys = await anybody.create()
    assert await listed(anybody) == [nobodys]
    assert await listed(anybody, "?user_id=carl") == await listed(anybody, headers={"x-user-id": "carl"}) == [carls]
    assert await listed(anybody, "?user_id=anonymous", {"x-user-id": "carl"}) == [carls]


@pytest.mark.parametrize(
    ("query", "field", "told"),
    [
        ("?status=Waiting", "status", "'Waiting' is not a state of tasks that have not ended: Queued, Running, "),
        ("?status=Succeeded", "status", "'Succeeded' is not a state"),
        ("?status=", "status", "'' is not a state"),
        ("?limit=0", "limit", "'0' is not a number from 1 to 100"),
        ("?limit=101", "limit", "'101' is not"),
        ("?limit=1000000", "limit", "'1000000' is not"),
        ("?limit=-1", "limit", "'-1' is not"),
        ("?limit=ten", "limit", "'ten' is not"),
        ("?limit=%C2%B2", "limit", "'²' is not"),
        ("?limit=1&limit=2", "limit", "It is given 2 times; give it once"),
        ("?user_id=%20", "user_id", "' ' is not a user's name"),
    ],
)
async def test_list_that_cannot_be_made_is_refused_by_parameter(ann, query, field, told):
    status, _, problem = await ann.call("GET", query)
    assert (status, problem["type"]) == (400, "urn:greylag:problem:invalid-request")
    (error,) = problem["errors"]
    assert (error["field"], error["message"].startswith(told)) == (field, True), error


async def test_full_queue_says_when_to_come_back(tasks, feed, serve, http):
    ann = Client(await serve(TaskDesk(tasks, feed, by_bearer, IDS, lambda: None, max_queue=2)), http, "ann")
    await ann.create()
    await ann.create()
    status, headers, problem = await ann.call("POST", body={"query": "hi"})
    assert (status, problem["type"]) == (429, "urn:greylag:problem:queue-full")
    assert int(headers["retry-after"]) > 0


async def test_what_is_refused_becomes_no_task(tasks, feed, serve, http):
    async def refuse(_request, body):
        raise Problem(ProblemType.GUARD_BLOCKED, HTTPStatus.BAD_REQUEST, f"No {body.query}.")

    ann = Client(await serve(TaskDesk(tasks, feed, by_bearer, IDS, lambda: None, refuse)), http, "ann")
    assert (await ann.call("POST", body={"query": "hi"}))[0] == 400
    assert (await tasks.counts()).queued == 0


async def test_store_that_is_away_is_a_problem_and_streams_outlast_it(own_redis, open_at, limits, order, serve, http):
    store = open_at(own_redis)
    tasks = TaskStore(store, limits(lease=60))
    feed = EventFeed(store, tasks)
    feed.start()
    ann = Client(await serve(TaskDesk(tasks, feed, by_bearer, IDS, lambda: None)), http, "ann")
    task_id = await ann.create()
    claim = await tasks.claim(REVISION, "pod", may_adopt=False)
    reader = asyncio.create_task(ann.events(task_id))
    await asyncio.sleep(0.5)
    own_redis.stop()
    for method, path, body in (("POST", "", {"query": "hi"}), ("GET", "", None), ("GET", f"/{task_id}", None)):
        status, headers, problem = await ann.call(method, path, body=body)
        assert (status, problem["type"]) == (503, "urn:greylag:problem:store-unavailable")
        assert headers["retry-after"] == "1"
        assert str(own_redis.port) not in problem["detail"]
    await asyncio.sleep(1.5)
    own_redis.start()

    async def finished():
        with contextlib.suppress(Exception):
            return await tasks.finish(claim, Finished({}))

    while not await finished():
        await asyncio.sleep(0.1)
    names = [name for _, name, _ in await asyncio.wait_for(reader, 15)]
    assert names == ["task.queued", "task.started", "completed"]
    await feed.stop()
