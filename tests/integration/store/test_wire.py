"""One connection under the commands of many, on a real Redis."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import DataError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from agent_runtime.store import wire as wires
from agent_runtime.store.circuit import StoreUnavailable
from agent_runtime.store.connection import open_store
from agent_runtime.store.wire import Wire
from tests.support.redis import write_secret

AT_ONCE = 500


@pytest.fixture
async def pool(redis_server):
    pool = BlockingConnectionPool.from_url(redis_server.url, protocol=2)
    yield pool
    await pool.aclose()


@pytest.fixture
async def wire(pool):
    wire = Wire(await pool.get_connection(), pool)
    yield wire
    await wire.aclose()


class Relay:
    """Passes bytes between clients and a server, and keeps back what the server sends on the first connections."""

    def __init__(self, port, silent):
        self.port, self.silent, self.accepted = port, silent, 0
        self.tasks = set()

    async def accept(self, reader, writer):
        self.accepted += 1
        muted = self.accepted <= self.silent
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.tasks |= {
            asyncio.create_task(self.pass_on(reader, server_writer)),
            asyncio.create_task(self.pass_on(server_reader, writer, muted=muted)),
        }

    async def pass_on(self, reader, writer, *, muted=False):
        greeted = False
        try:
            while data := await reader.read(65536):
                # What a client asks when it connects is answered.
                if muted and greeted and b"+OK" not in data:
                    continue
                greeted = greeted or b"PONG" in data
                writer.write(data)
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def relayed(redis_server, silent):
    relay = Relay(redis_server.port, silent)
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    try:
        yield relay, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in relay.tasks:
            task.cancel()
        await asyncio.gather(*relay.tasks, return_exceptions=True)


async def test_everyone_gets_the_answer_to_his_own_question(wire):
    answers = await asyncio.gather(*(wire.ask(("ECHO", f"q-{number}")) for number in range(AT_ONCE)))
    assert answers == [f"q-{number}".encode() for number in range(AT_ONCE)]


async def test_error_of_a_command_is_its_own_only(wire):
    await wire.ask(("SET", "text", "a"))
    results = await asyncio.gather(
        wire.ask(("ECHO", "before")), wire.ask(("INCR", "text")), wire.ask(("ECHO", "after")), return_exceptions=True
    )
    assert (results[0], results[2]) == (b"before", b"after")
    assert isinstance(results[1], ResponseError)


async def test_whoever_leaves_before_the_answer_disturbs_nobody(wire):
    leaving = [asyncio.create_task(wire.ask(("ECHO", f"left-{number}"))) for number in range(20)]
    staying = [asyncio.create_task(wire.ask(("ECHO", f"stays-{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    assert await asyncio.gather(*staying) == [f"stays-{number}".encode() for number in range(20)]
    assert await wire.ask(("ECHO", "next")) == b"next"
    assert wire.usable


async def test_open_questions_fail_with_their_connection_and_no_others_are_taken(wire, redis_server):
    own_id = await wire.ask(("CLIENT", "ID"))
    waiting = asyncio.create_task(wire.ask(("BLPOP", "nothing", 0)))
    await asyncio.sleep(0)
    redis_server.admin().client_kill_filter(_id=own_id)
    with pytest.raises(RedisConnectionError):
        await waiting
    assert not wire.usable
    with pytest.raises(RedisConnectionError):
        await wire.ask(("PING",))


async def test_closed_wire_fails_its_questions_and_gives_its_connection_back(pool):
    wire = Wire(await pool.get_connection(), pool)
    waiting = asyncio.create_task(wire.ask(("BLPOP", "nothing", 0)))
    await asyncio.sleep(0)
    await wire.aclose()
    with pytest.raises(RedisConnectionError):
        await waiting
    assert pool._in_use_connections == set()


async def test_store_opens_a_new_connection_after_the_server_closed_the_old_one(store, redis_server):
    client_id = await store.client.execute_command("CLIENT", "ID")
    redis_server.admin().client_kill_filter(_id=client_id)

    async def works():
        try:
            return await store.client.ping()
        except Exception:  # noqa: BLE001 - one command may meet the end of the connection
            return False

    async with asyncio.timeout(10):
        while not await works():
            await asyncio.sleep(0.01)
    assert await store.client.execute_command("CLIENT", "ID") != client_id


async def test_connection_without_answers_is_left_for_a_new_one(monkeypatch, tmp_path, redis_server):
    monkeypatch.setattr(wires, "CALL_SECONDS", 0.3)
    async with relayed(redis_server, silent=1) as (relay, port):
        store = open_store(write_secret(tmp_path / "secret", f"redis://127.0.0.1:{port}/0"), "team-a", "support")
        await store.client.ping()
        with pytest.raises(StoreUnavailable, match="did not answer in time"):
            await store.client.get("a")
        async with asyncio.timeout(5):
            assert await store.client.set("a", "1")
        assert relay.accepted == 2
        await store.aclose()


async def test_late_answer_is_nobodys_and_a_wire_that_nobody_waits_on_gives_its_connection_back(monkeypatch, pool):
    monkeypatch.setattr(wires, "CALL_SECONDS", 0.3)
    wire = Wire(await pool.get_connection(), pool)
    with pytest.raises(RedisTimeoutError):
        await wire.ask(("BLPOP", "nothing", 0.6))
    assert not wire.usable
    async with asyncio.timeout(10):
        while pool._in_use_connections:
            await asyncio.sleep(0.01)


async def test_patience_is_counted_from_each_question_of_its_own(monkeypatch, wire):
    monkeypatch.setattr(wires, "CALL_SECONDS", 0.6)
    for _ in range(4):
        # Together longer than one may take.
        assert await wire.ask(("BLPOP", "nothing", 0.25)) is None
    assert wire.usable


@pytest.mark.parametrize("value", [None, True, ["a"], object()])
async def test_value_that_the_protocol_cannot_hold_is_refused_and_disturbs_nobody(wire, value):
    with pytest.raises(DataError):
        await wire.ask(("SET", "k", value))
    assert await wire.ask(("ECHO", "next")) == b"next"


async def test_command_of_two_words_is_understood(wire):
    assert await wire.ask(("CLIENT ID",)) > 0


class GoneConnection:
    """A connection that ended, which the library would open anew to send."""

    is_connected = False

    def __init__(self):
        self.sent = []

    async def send_packed_command(self, command, check_health=True):
        self.sent.append(command)

    async def read_response(self):
        await asyncio.Event().wait()

    async def disconnect(self, nowait=False):
        pass

    async def release(self, connection):
        pass


async def test_nothing_is_sent_on_another_connection_than_the_one_it_was_asked_on():
    gone = GoneConnection()
    wire = Wire(gone, gone)
    with pytest.raises(RedisConnectionError):
        await wire.ask(("INCR", "n"))
    assert gone.sent == []
