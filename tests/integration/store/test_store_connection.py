"""The store against a real Redis: what it does when the server or its Secret is not as it should be."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from redis.crc import key_slot
from structlog.testing import capture_logs

from agent_runtime.store import circuit as circuit_module
from agent_runtime.store.circuit import CALL_SECONDS, CALLS_AT_ONCE, OPEN_SECONDS, QUEUE_SECONDS, Circuit
from agent_runtime.store.connection import StoreUnavailable, open_memory_store, open_store
from tests.support.redis import free_port, running_redis, write_secret

INCREMENT = "return redis.call('INCRBY', KEYS[1], ARGV[1])"


async def until(condition, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture
async def owned():
    """Runs owner tasks for the length of the test."""
    tasks = []

    def run(store):
        tasks.append(asyncio.create_task(store.run()))
        return tasks[-1]

    yield run
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_keys_of_a_namespace_lie_in_one_hash_slot(store, open_at, redis_server):
    other = open_at(redis_server, "sales")
    assert store.key("spend", "2026-11-25") == "{greylag:team-a}:support:spend:2026-11-25"
    assert {key_slot(s.key("x").encode()) for s in (store, other)} == {key_slot(store.key("y", "z").encode())}


async def test_script_is_loaded_when_the_server_does_not_have_it(store):
    script = store.script(INCREMENT)
    assert await script([store.key("n")], [2]) == 2
    await store.client.script_flush()
    assert await script([store.key("n")], [3]) == 5


async def test_a_command_and_a_pipeline_work(store):
    await store.client.set(store.key("a"), "1")
    pipeline = store.client.pipeline(transaction=True)
    pipeline.get(store.key("a"))
    pipeline.incr(store.key("a"))
    assert await pipeline.execute() == [b"1", 2]


async def test_missing_secret_is_a_reason_and_no_crash(tmp_path):
    store = open_store(tmp_path / "nowhere", "team-a", "support")
    with pytest.raises(StoreUnavailable, match="Secret missing"):
        await store.script(INCREMENT)([store.key("n")], [1])
    report = store.report()
    assert (report.reachable, report.was_reached) == (False, False)
    assert "Secret missing" in report.reason


async def test_secret_that_comes_late_is_found(tmp_path, redis_server, owned):
    store = open_store(tmp_path / "late", "team-a", "support")
    owned(store)
    await until(lambda: "Secret missing" in store.report().reason)
    write_secret(tmp_path / "late", redis_server.url)
    await until(lambda: store.report().reachable)
    assert store.report().was_reached
    await store.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@127.0.0.1",
        "nonsense hunter2",
        "",
        "redis://:hunter2@127.0.0.1:port/0",
        "redis://hunter2\xe9",
    ],
)
async def test_url_that_is_none_is_told_without_its_text(tmp_path, url):
    store = open_store(write_secret(tmp_path / "bad", url), "team-a", "support")
    with capture_logs() as logs, pytest.raises(StoreUnavailable) as raised:
        await store.client.ping()
    assert "URL" in store.report().reason
    assert "hunter2" not in f"{raised.value}{store.report()}{logs}"


async def test_wrong_password_is_a_reason_without_the_password(tmp_path):
    with running_redis(tmp_path / "redis", "--requirepass", "right-hunter2") as server:
        url = f"redis://:wrong-hunter2@127.0.0.1:{server.port}/0"
        store = open_store(write_secret(tmp_path / "secret", url), "team-a", "support")
        with capture_logs() as logs, pytest.raises(StoreUnavailable) as raised:
            await store.client.ping()
        assert "AuthenticationError" in store.report().reason
        assert "hunter2" not in f"{raised.value!r}{raised.value.__cause__}{store.report()}{logs}"
        await store.aclose()


async def test_rotated_password_is_used_without_a_restart(tmp_path, owned):
    with running_redis(tmp_path / "redis", "--requirepass", "old") as server:
        folder = write_secret(tmp_path / "secret", f"redis://:old@127.0.0.1:{server.port}/0")
        store = open_store(folder, "team-a", "support")
        await store.client.set(store.key("a"), "1")
        with server.admin(password="old") as admin:
            admin.config_set("requirepass", "new")
        write_secret(folder, f"redis://:new@127.0.0.1:{server.port}/0")
        first = store.client
        owned(store)
        await until(lambda: store.client is not first)
        assert await store.client.get(store.key("a")) == b"1"
        await store.aclose()


async def test_an_outage_is_fast_and_told_once(own_redis, open_at):
    store = open_at(own_redis)
    await store.client.ping()
    own_redis.stop()
    with capture_logs() as logs:
        began = time.monotonic()
        for _ in range(200):
            with pytest.raises(StoreUnavailable):
                await store.client.ping()
        assert time.monotonic() - began < 2
    assert [line["event"] for line in logs] == ["store is not reachable"]
    assert store.report().was_reached
    assert not store.report().reachable


async def test_it_is_used_again_as_soon_as_it_is_back(own_redis, open_at):
    store = open_at(own_redis)
    await asyncio.gather(*(store.client.set(store.key(str(n)), n) for n in range(30)))
    own_redis.stop()
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            await store.client.ping()
    own_redis.start()
    deadline = time.monotonic() + 3
    while True:
        try:
            await store.client.ping()
            break
        except StoreUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    # The connections that the pool kept are dead; none of them may cost a call.
    assert await asyncio.gather(*(store.client.get(store.key(str(n))) for n in range(30))) == [
        str(n).encode() for n in range(30)
    ]


async def test_a_server_that_answers_nothing_costs_a_bounded_time(own_redis, open_at):
    store = open_at(own_redis)
    await store.client.ping()
    own_redis.freeze()
    try:
        began = time.monotonic()
        results = await asyncio.gather(*(store.client.ping() for _ in range(100)), return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        assert time.monotonic() - began < CALL_SECONDS + QUEUE_SECONDS
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreUnavailable) as raised:
                await store.client.ping()
            assert not raised.value.tried
        assert time.monotonic() - began < OPEN_SECONDS
    finally:
        own_redis.thaw()


@pytest.fixture
async def lossy(redis_server):
    """A way to the server on which one answer is lost and the connection closed, once that is asked for."""
    lose = asyncio.Event()

    async def carry(reader, writer):
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", redis_server.port)
        try:
            while request := await reader.read(65536):
                server_writer.write(request)
                answer = await server_reader.read(65536)
                if lose.is_set() and b"EVALSHA" in request:
                    lose.clear()
                    return
                writer.write(answer)
        finally:
            for each in (writer, server_writer):
                each.close()

    proxy = await asyncio.start_server(carry, "127.0.0.1", 0)
    yield proxy.sockets[0].getsockname()[1], lose
    proxy.close()


async def test_a_script_whose_answer_was_lost_is_not_sent_again(lossy, tmp_path, redis_server):
    port, lose = lossy
    store = open_store(write_secret(tmp_path / "lossy", f"redis://127.0.0.1:{port}/0"), "team-a", "support")
    script = store.script(INCREMENT)
    assert await script([store.key("n")], [10]) == 10
    lose.set()
    with pytest.raises(StoreUnavailable) as raised:
        await script([store.key("n")], [10])
    assert raised.value.tried
    with redis_server.admin() as admin:
        assert int(admin.get(store.key("n"))) == 20
    await store.aclose()


async def test_a_cancelled_call_leaves_the_connection_fit_for_the_next(store):
    for _ in range(20):
        task = asyncio.create_task(store.client.set(store.key("slow"), "x"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await store.client.execute_command("ECHO", "mine") == b"mine"


async def test_a_mistake_of_ours_is_no_outage(store):
    await store.client.set(store.key("text"), "x")
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="it answered"):
            await store.client.incr(store.key("text"))
    assert store.report().reachable
    assert await store.client.get(store.key("text")) == b"x"


async def test_more_calls_than_connections_wait_their_turn(store):
    assert len(await asyncio.gather(*(store.client.incr(store.key("n")) for _ in range(500)))) == 500


async def test_a_call_that_never_has_its_turn_was_not_tried_and_is_no_outage(monkeypatch):
    monkeypatch.setattr(circuit_module, "QUEUE_SECONDS", 0.05)
    circuit, gate = Circuit(), asyncio.Event()
    asked = [asyncio.create_task(circuit.call(gate.wait)) for _ in range(CALLS_AT_ONCE)]
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="too many") as refused:
        await circuit.call(gate.wait)
    gate.set()
    await asyncio.gather(*asked)
    assert not refused.value.tried
    assert circuit.report().reachable


async def test_the_memory_store_runs_the_same_scripts():
    store = open_memory_store("team-a", "support")
    script = store.script(INCREMENT)
    assert await script([store.key("n")], [2]) == 2
    assert await script([store.key("n")], [2]) == 4
    assert store.report().was_reached
    await store.aclose()


@contextlib.contextmanager
def cluster_node(folder):
    # The port of the bus is by default 10000 above, which may be none.
    with running_redis(folder, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as node:
        yield node


async def until_answered(call, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call()
        except StoreUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_cluster_is_served_from_the_node_that_owns_the_namespace(tmp_path, open_at, owned):
    with cluster_node(tmp_path / "named") as named, cluster_node(tmp_path / "owner") as owner:
        with owner.admin() as admin, named.admin() as other:
            admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            bus = admin.config_get("cluster-port")["cluster-port"]
            other.execute_command("CLUSTER", "MEET", "127.0.0.1", owner.port, bus)
        store = open_at(named)
        owned(store)
        keys = [store.key("a"), store.key("b", "c"), store.key("d")]
        script = store.script("for i, k in ipairs(KEYS) do redis.call('INCR', k) end return #KEYS")
        assert await until_answered(lambda: script(keys, [])) == 3
        with owner.admin() as admin:
            assert admin.get(keys[0]) == b"1"
        # The owner goes and comes back: meanwhile the node of the URL is asked again.
        owner.stop()
        with pytest.raises(StoreUnavailable):
            await script(keys, [])
        owner.start()
        assert await until_answered(lambda: script(keys, [])) == 3
