"""What pods answer is read whole, within bounds, and what makes no sense answers nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web

from agent_operator.cluster import peers as peers_module
from agent_operator.cluster.acknowledgements import Acknowledgements
from agent_operator.cluster.peers import Peer, Peers

PIECES = 400


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def _serve(body: bytes, path: str, status: int = 200) -> tuple[web.AppRunner, Peer]:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert path != "/observations" or request.query_string == "agent=support&since=5"
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        size = max(1, len(body) // PIECES)
        for begin in range(0, len(body), size):
            await response.write(body[begin : begin + size])
        return response

    app = web.Application()
    app.add_routes([web.get(path, answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    return runner, Peer("pod", "127.0.0.1", port)


def _observations(slots: int) -> bytes:
    slot = {"revision": "v1", "epoch": 1, "start": 0, "requests": 1, "failures": 0, "conversations": 1}
    document = {"instance": "pod", "since": 0, "settledUntil": 5, "inFlight": 0, "slots": [slot] * slots}
    return json.dumps(document).encode()


async def test_an_answer_in_many_pieces_is_read_whole(session):
    runner, peer = await _serve(_observations(5000), "/observations")
    try:
        answers = await Peers(session).observations([peer], "support", 5)
    finally:
        await runner.cleanup()
    assert len(answers["pod"].slots) == 5000


async def test_an_answer_beyond_the_bound_answers_nothing(session, monkeypatch):
    monkeypatch.setattr(peers_module, "MAX_BYTES", 1000)
    runner, peer = await _serve(_observations(5000), "/observations")
    try:
        assert await Peers(session).observations([peer], "support", 5) == {}
    finally:
        await runner.cleanup()


async def test_a_pod_says_why_it_is_not_ready(session):
    problem = json.dumps({"detail": "Secret key for model m (position 0) is missing"}).encode()
    runner, peer = await _serve(problem, "/ready", status=503)
    try:
        (said,) = await Peers(session).unreadiness([peer])
    finally:
        await runner.cleanup()
    assert said.reason == "Secret key for model m (position 0) is missing"


@pytest.mark.parametrize("body", [b"", b"[" * 100_000, b"[]", b'"x"', b'{"detail": null}', b"\xff"])
async def test_a_pod_that_says_nonsense_says_nothing(session, body):
    runner, peer = await _serve(body, "/ready", status=503)
    try:
        (said,) = await Peers(session).unreadiness([peer])
    finally:
        await runner.cleanup()
    assert said.reason in {"", "None"}


async def _hanging(taken: list[object] | None = None) -> tuple[asyncio.Server, int]:
    """A server that takes connections, notes them, and never answers."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if taken is not None:
            taken.append(writer)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_pods_that_do_not_answer_are_asked_side_by_side_and_remembered(session, monkeypatch):
    monkeypatch.setattr(peers_module, "READ_SECONDS", 0.3)
    server, port = await _hanging()
    silent = [Peer(f"pod-{number}", "127.0.0.1", port, "ns") for number in range(4)]
    peers = Peers(session)
    began = asyncio.get_running_loop().time()
    assert [said.reason for said in await peers.unreadiness(silent)] == [""] * 4
    first = asyncio.get_running_loop().time()
    await peers.unreadiness(silent)
    assert asyncio.get_running_loop().time() - first < 0.1
    assert first - began < 1.0
    server.close()


async def test_hanging_pods_of_one_tenant_delay_no_answer_of_anothers(session, monkeypatch):
    monkeypatch.setattr(peers_module, "READ_SECONDS", 1.0)
    taken: list[object] = []
    server, port = await _hanging(taken)
    hanging = [Peer(f"pod-{number}", "127.0.0.1", port, "loud") for number in range(400)]
    runner, healthy = await _serve(_observations(1), "/observations")
    peers = Peers(session)
    stuck = asyncio.create_task(peers.observations(hanging, "support", 5))
    async with asyncio.timeout(5):
        while len(taken) < peers_module.MAX_AT_ONCE // 4:
            await asyncio.sleep(0.001)
    began = asyncio.get_running_loop().time()
    answers = await peers.observations([replace(healthy, namespace="quiet")], "support", 5)
    assert "pod" in answers
    assert asyncio.get_running_loop().time() - began < 0.5
    assert await stuck == {}
    assert asyncio.get_running_loop().time() - began < 3.0, "the wait for a slot is timed"
    server.close()
    await runner.cleanup()


async def test_acknowledgements_of_many_agents_are_read_whole(session):
    routes = {f"agent-{number}": {"uid": "u", "serial": 1} for number in range(3000)}
    document = json.dumps({"instance": "pod", "version": 1, "boot": "b", "routes": routes}).encode()
    runner, peer = await _serve(document, "/applied")
    changed = []
    acknowledgements = Acknowledgements(session, changed.append)
    try:
        answer = await acknowledgements._ask(peer, None)
    finally:
        await acknowledgements.close()
        await runner.cleanup()
    assert answer is not None
    assert len(answer.routes) == 3000


def _report(**fields) -> bytes:
    return json.dumps({"instance": "pod", **fields}).encode()


@pytest.mark.parametrize(
    ("body", "status", "known"),
    [
        (_report(ledgerLost=True, fieldOfTomorrow=1), 200, True),
        (_report(), 404, False),
        (b"{}", 200, False),
        (b"nonsense", 200, False),
        (_report(toolsUnavailable=["x" * 70_000]), 200, False),
        (_report(spend={"day": "x", "spentMicro": 1, "canaryMicro": 0, "epoch": "e", "sequence": 1}), 200, False),
    ],
)
async def test_a_report_is_read_within_its_bounds_or_not_at_all(session, body, status, known):
    runner, peer = await _serve(body, "/report", status)
    try:
        answer = await Peers(session).report(peer)
    finally:
        await runner.cleanup()
    assert (answer is not None) is known
    assert answer is None or answer.ledger_lost


async def test_a_gateway_counts_as_asked_once_it_answered_or_did_not(session):
    runner, peer = await _serve(b"nonsense", "/applied")
    acknowledgements = Acknowledgements(session, lambda _key: None)
    try:
        acknowledgements.follow("team-a", [peer])
        assert not acknowledgements.asked("team-a", [peer.name])
        async with asyncio.timeout(10):
            while not acknowledgements.asked("team-a", [peer.name]):
                await asyncio.sleep(0.01)
        acknowledgements.follow("team-a", [])
        assert not acknowledgements.asked("team-a", [peer.name])
    finally:
        await acknowledgements.close()
        await runner.cleanup()
