"""The clients: what they send, and how they note what comes back."""

from __future__ import annotations

import asyncio
import random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from demo.model_server.asked import read_asked
from demo.traffic.client import Traffic
from demo.traffic.control import Control
from demo.traffic.records import Fault, Journal, Record, record_of
from demo.traffic.script import Load, write_question, write_script

REVISION = "support-aaaaaaaaaa"
LOAD = Load(clients=2, conversations=2, think_min=0.0, think_max=0.005)


def record(number=0, **changes):
    fields = (number, 1, 5, f"r{number}", 1.0, 2.0, 200, Fault.NONE, "a", "a", "ok", "", "a.1.x")
    return Record(*fields) if not changes else Record(*fields, **changes)


class Agent:
    """An agent that remembers what it was asked."""

    def __init__(self, answer=None):
        self.asked = []
        self._answer = answer
        self.app = web.Application()
        self.app.router.add_post("/agent/run", self._run)
        self.app.router.add_get("/health", self._health)

    async def _run(self, request):
        body = await request.json()
        self.asked.append((request.headers, body))
        if self._answer is not None:
            return await self._answer(request)
        given = request.headers.get("x-conversation-id") or body.get("conversation_id")
        identity = given or f"{REVISION}.1.{len(self.asked):08d}"
        headers = {"x-conversation-id": identity, "x-greylag-revision": REVISION, "x-greylag-outcome": "ok"}
        return web.json_response({"revision": REVISION}, headers=headers)

    async def _health(self, _request):
        return web.json_response({})


async def until(condition):
    """Wait until a condition, which may be a coroutine function, gives something true; return that."""
    async with asyncio.timeout(20):
        while True:
            found = condition()
            found = await found if asyncio.iscoroutine(found) else found
            if found:
                return found
            await asyncio.sleep(0.005)


async def run_until(url, condition, load=LOAD):
    journal = Journal()
    traffic = Traffic(url, load, journal)
    task = asyncio.create_task(traffic.run())
    await until(lambda: task.done() or condition(journal))
    traffic.finish()
    await asyncio.wait_for(task, 20)
    return journal.page(0, 10_000).records


async def test_conversation_keeps_the_id_of_its_first_answer():
    async with TestServer(Agent().app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 60)
    later = [entry for entry in records if entry.turn > 1]
    assert later
    assert all(entry.sent_id == entry.received_id for entry in later)
    assert all(entry.sent_id == "" for entry in records if entry.turn == 1)


async def test_ids_travel_by_header_and_by_body_and_never_by_both():
    agent = Agent()
    async with TestServer(agent.app) as server:
        await run_until(str(server.make_url("")), lambda journal: journal.count >= 200)
    ways = {("x-conversation-id" in headers, "conversation_id" in body) for headers, body in agent.asked}
    assert ways == {(False, False), (True, False), (False, True)}


async def test_every_request_has_an_id_of_its_own():
    agent = Agent()
    async with TestServer(agent.app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 60)
    sent = [headers["x-request-id"] for headers, _ in agent.asked]
    assert len(set(sent)) == len(sent)
    assert {entry.request_id for entry in records} == set(sent)


async def test_refused_connection_is_noted_as_such():
    async with TestServer(Agent().app) as server:
        url = str(server.make_url(""))
    records = await run_until(url, lambda journal: journal.count >= 5)
    assert {(entry.fault, entry.status) for entry in records} == {(Fault.CONNECT, 0)}


async def test_connection_cut_before_the_answer_is_a_reset():
    async def cut(request):
        request.transport.abort()
        return web.Response()

    async with TestServer(Agent(cut).app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 5)
    assert {entry.fault for entry in records} == {Fault.RESET}


async def test_answer_cut_in_its_body_is_truncated():
    async def half(request):
        response = web.StreamResponse(headers={"content-length": "100"})
        await response.prepare(request)
        await response.write(b'{"revision":')
        request.transport.close()
        return response

    async with TestServer(Agent(half).app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 5)
    assert {(entry.fault, entry.status) for entry in records} == {(Fault.TRUNCATED, 200)}


async def test_body_that_is_no_object_is_truncated():
    async def odd(_request):
        return web.json_response([])

    async with TestServer(Agent(odd).app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 5)
    assert {entry.fault for entry in records} == {Fault.TRUNCATED}


async def test_failed_run_is_an_answer_with_its_outcome():
    async def fail(_request):
        headers = {"x-greylag-outcome": "error", "x-greylag-revision": REVISION}
        return web.json_response({"title": "no"}, status=502, headers=headers)

    async with TestServer(Agent(fail).app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 5)
    assert {(r.fault, r.status, r.outcome, r.revision) for r in records} == {(Fault.NONE, 502, "error", REVISION)}


def test_conversations_have_five_to_eight_turns_and_end_well_within_the_drain():
    chance = random.Random(3)
    scripts = [write_script(Load(), chance) for _ in range(2000)]
    assert {script.turns for script in scripts} == {5, 6, 7, 8}
    assert max(sum(script.pauses) for script in scripts) < 55
    assert {script.by_header for script in scripts} == {script.fresh_connection for script in scripts} == {True, False}


async def test_cost_tools_and_the_days_spend_are_noted_from_the_answer():
    async def cost(_request):
        tools = [{"name": "shop.getOrder", "outcome": outcome, "milliseconds": 1} for outcome in ("ok", "denied")]
        budget = {"day": "2026-11-25", "spent_today_usd": "0.5", "remaining_today_usd": None}
        return web.json_response({"revision": REVISION, "tool_calls": tools, "cost_usd": "0.01", "budget": budget})

    async with TestServer(Agent(cost).app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 5)
    assert {(r.tools, r.cost_usd, r.day, r.spent_usd) for r in records} == {("ok denied", "0.01", "2026-11-25", "0.5")}


async def test_answer_without_price_or_budget_has_neither():
    async def free(_request):
        return web.json_response({"revision": REVISION, "tool_calls": [], "cost_usd": None, "budget": None})

    async with TestServer(Agent(free).app) as server:
        records = await run_until(str(server.make_url("")), lambda journal: journal.count >= 5)
    assert {(r.tools, r.cost_usd, r.day, r.spent_usd) for r in records} == {("", "", "", "")}


def questions(load):
    chance = random.Random(5)
    return [write_question(load, chance, 1, 1) for _ in range(2000)]


def requested(question):
    tools = [{"function": {"name": f"shop__{name}"}} for name in ("getOrder", "refundOrder")]
    body = {"model": "good-v1", "messages": [{"role": "user", "content": question}], "tools": tools}
    return [call.name for call in read_asked(body).tool_requests]


def test_a_share_of_the_questions_makes_the_simulated_model_call_a_tool():
    called = [name for question in questions(Load()) for name in requested(question)]
    assert 300 < called.count("shop__getOrder") < 500
    assert 50 < called.count("shop__refundOrder") < 150


def test_a_real_model_is_told_of_no_tool_by_name():
    assert not any("[[" in question or "getOrder" in question for question in questions(Load(spelled_out=False)))


def test_journal_pages_on_from_a_cursor():
    journal = Journal()
    for number in range(5):
        journal.add(record(number))
    first = journal.page(0, 3)
    rest = journal.page(first.cursor, 3)
    assert [entry.conversation for entry in (*first.records, *rest.records)] == [0, 1, 2, 3, 4]
    assert (rest.cursor, rest.lost) == (5, 0)


def test_full_journal_forgets_the_oldest_and_says_how_many():
    journal = Journal(capacity=3)
    for number in range(5):
        journal.add(record(number))
    page = journal.page(1, 10)
    assert ([entry.conversation for entry in page.records], page.lost, journal.count) == ([2, 3, 4], 1, 5)


def test_record_survives_its_row():
    entry = record(3, detail="why")
    assert record_of(entry.row()) == entry


@pytest.mark.parametrize("document", [{"clients": 0}, {"conversations": 101}, {"think_min": 3.0, "think_max": 1.0}])
def test_senseless_load_is_refused(document):
    with pytest.raises(ValueError, match=r"must be|<="):
        Load.read(document)


def test_unknown_field_of_a_load_is_refused():
    with pytest.raises(TypeError, match="speed"):
        Load.read({"speed": 1})


@pytest.fixture
async def control():
    async with TestServer(Agent().app) as server:
        journal = Journal()
        async with TestClient(TestServer(Control(str(server.make_url("")), journal).application())) as client:
            yield client


async def fetched(control, path, key):
    return (await (await control.get(path)).json())[key]


async def stopped(control):
    return not await fetched(control, "/summary", "running")


async def test_control_starts_finishes_and_hands_out_records(control):
    load = {"clients": 1, "conversations": 1, "think_min": 0, "think_max": 0.001}
    assert (await control.post("/start", json=load)).status == 200
    assert (await control.post("/start", json=load)).status == 409
    rows = await until(lambda: fetched(control, "/records", "rows"))
    assert record_of(rows[0]).revision == REVISION
    await control.post("/finish")
    assert await until(lambda: stopped(control))


async def test_control_refuses_nonsense(control):
    assert (await control.post("/start", data="[")).status == 400
    assert (await control.post("/start", json={"clients": 9999})).status == 400
    assert (await control.get("/records?since=x")).status == 400


async def test_control_stops_at_once(control):
    await control.post("/start", json={"clients": 1, "conversations": 1, "think_min": 50, "think_max": 60})
    assert (await (await control.post("/stop")).json())["running"] is False
