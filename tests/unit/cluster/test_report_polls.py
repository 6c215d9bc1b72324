"""Questions to pods in the background: one a revision, every ten seconds, and a word only when it is news."""

from __future__ import annotations

import asyncio

import pytest

from agent_api.live_document import BudgetsDocument
from agent_api.report import RuntimeReport, SpendReport, StoreReport
from agent_operator.cluster import reports as reports_module
from agent_operator.cluster.peers import Peer
from agent_operator.cluster.reports import Reports
from agent_operator.core.facts import Reported

KEY = ("ns", "support")
BUDGETS = BudgetsDocument(daily_micro=100_000_000)
V1, V2 = Peer("p1", "10.0.0.1", 8080), Peer("p2", "10.0.0.2", 8080)


class Clock:
    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(reports_module, "_now", lambda: self.now)


class FakePeers:
    def __init__(self):
        self.answers = {}
        self.asked = []

    async def report(self, peer):
        self.asked.append(peer.name)
        return self.answers.get(peer.name)


def report(micro=0, *, reachable=True):
    spend = SpendReport(day="2030-01-01", spent_micro=micro, canary_micro=0, epoch="e", sequence=1)
    return RuntimeReport(instance="p", store=StoreReport(reachable=reachable, was_reached=True), spend=spend)


class World:
    def __init__(self, monkeypatch):
        self.clock = Clock(monkeypatch)
        self.peers = FakePeers()
        self.news = []
        self.reports = Reports(self.peers, self.news.append)

    def follow(self, **peers):
        return self.reports.follow(KEY, peers, BUDGETS)

    async def passes(self, seconds):
        self.clock.now += seconds
        self.peers.asked.clear()
        await self.reports.ask_due()
        return list(self.peers.asked)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


async def test_nothing_is_known_before_the_first_round_and_that_is_asked_at_once(world):
    world.peers.answers["p1"] = report(5)
    assert world.follow(v1=V1) is None
    assert await world.passes(0) == ["p1"]
    assert world.news == [KEY]
    assert world.follow(v1=V1) == Reported((report(5),), (report(5),), report(5).spend)


async def test_pods_are_asked_every_ten_seconds(world):
    world.follow(v1=V1, v2=V2)
    assert await world.passes(0) == ["p1", "p2"]
    assert await world.passes(9.9) == []
    assert await world.passes(0.2) == ["p1", "p2"]


async def test_the_same_answers_are_no_news(world):
    world.peers.answers["p1"] = report()
    world.follow(v1=V1)
    await world.passes(0)
    world.follow(v1=V1)
    world.news.clear()
    for _ in range(20):
        await world.passes(10)
    assert world.news == []


async def test_spending_is_news_measured_from_what_was_told(world):
    world.peers.answers["p1"] = report()
    world.follow(v1=V1)
    await world.passes(0)
    world.follow(v1=V1)
    world.news.clear()
    for micro in (400_000, 800_000):
        world.peers.answers["p1"] = report(micro)
        await world.passes(10)
    assert world.news == []
    world.peers.answers["p1"] = report(1_000_000)
    await world.passes(10)
    assert world.news == [KEY]


async def test_a_new_revision_is_asked_at_once(world):
    world.follow(v1=V1)
    await world.passes(0)
    world.follow(v1=V1, v2=V2)
    assert await world.passes(1) == ["p1", "p2"]


async def test_a_revision_that_is_not_routed_any_more_counts_no_more(world):
    world.peers.answers |= {"p1": report(1), "p2": report(2)}
    world.follow(v1=V1, v2=V2)
    await world.passes(0)
    assert len(world.follow(v1=V1).latest) == 1
    assert await world.passes(10) == ["p1"]


async def test_trouble_is_remembered_for_half_a_minute(world):
    world.peers.answers["p1"] = report(reachable=False)
    world.follow(v1=V1)
    await world.passes(0)
    world.peers.answers["p1"] = report()
    for _ in range(3):
        await world.passes(10)
        assert any(not said.store.reachable for said in world.follow(v1=V1).recent)
    await world.passes(10)
    assert all(said.store.reachable for said in world.follow(v1=V1).recent)


async def test_a_pod_that_does_not_answer_counts_by_its_last_word_for_a_minute(world):
    world.peers.answers["p1"] = report(5)
    world.follow(v1=V1)
    await world.passes(0)
    world.peers.answers.clear()
    await world.passes(50)
    assert world.follow(v1=V1).latest == (report(5),)
    await world.passes(10)
    assert world.follow(v1=V1).latest == ()
    assert world.follow(v1=V1).last_spend == report(5).spend


async def test_a_pod_that_knows_no_reports_is_no_reason_to_wait(world):
    world.follow(v1=V1)
    await world.passes(0)
    assert world.follow(v1=V1) == Reported()


async def test_without_pods_nobody_is_asked_and_nothing_is_unknown(world):
    assert world.follow() == Reported()
    assert await world.passes(60) == []


async def test_an_agent_that_is_gone_is_forgotten(world):
    world.follow(v1=V1)
    world.reports.forget(KEY)
    assert await world.passes(60) == []


async def test_the_loop_goes_on_until_it_is_cancelled(monkeypatch):
    monkeypatch.setattr(reports_module, "TICK_SECONDS", 0.01)
    monkeypatch.setattr(reports_module, "POLL_SECONDS", 0.01)
    peers = FakePeers()
    reports = Reports(peers, lambda _key: None)
    reports.follow(KEY, {"v1": V1}, BUDGETS)
    task = asyncio.create_task(reports.run())
    async with asyncio.timeout(10):
        while len(peers.asked) < 3:
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
