"""What the overhead of the gateway is measured with."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading

import pytest

from benchmarks.envoys import CANARY, STABLE, bare_files, gateway_files
from benchmarks.gateway_overhead import REQUESTS, free_ports, summarise
from benchmarks.http1 import BadMessageError, Connection, complete_length, count_answers, make_request
from benchmarks.upstream import ANSWER

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\n"
ROUNDS = {
    "bareNew": [0.001, 0.002, 0.009],
    "gatewayNew": [0.0011, 0.0023, 0.0091],
    "bareContinued": [0.001],
    "gatewayContinued": [0.0013],
}
RATES = {"bare": [1000.0, 2000.0], "gateway": [900.0, 1000.0]}


@pytest.mark.parametrize(
    ("buffer", "length"),
    [
        (b"", 0),
        (HEAD[:-2], 0),
        (HEAD + b"four", 0),
        (HEAD + b"fives", len(HEAD) + 5),
        (HEAD + b"fives and more", len(HEAD) + 5),
        (b"HTTP/1.1 204 No Content\r\ncontent-length:0\r\n\r\n", 45),
    ],
)
def test_a_message_is_whole_when_its_content_is(buffer, length):
    assert complete_length(buffer) == length


def test_a_message_that_says_no_length_is_refused():
    with pytest.raises(BadMessageError, match="chunked"):
        complete_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


def test_a_request_is_one_whole_message_with_its_body():
    request = make_request("/agent/run", {"query": "hä"})
    assert complete_length(request) == len(request)
    assert json.loads(request.partition(b"\r\n\r\n")[2]) == {"query": "hä"}


@contextlib.contextmanager
def answering(answer):
    """A server that answers each received part with `answer`, cut in two."""

    def serve(peer):
        with peer, contextlib.suppress(OSError):
            while peer.recv(65536):
                peer.sendall(answer[:7])
                peer.sendall(answer[7:])

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def test_an_exchange_ends_with_the_whole_answer_and_can_be_repeated():
    with answering(ANSWER) as port, contextlib.closing(Connection(port)) as connection:
        assert all(connection.exchange(REQUESTS["New"]) > 0 for _ in range(3))


def test_an_answer_other_than_200_ends_the_measurement():
    with (
        answering(ANSWER.replace(b"200 OK", b"503 No", 1)) as port,
        contextlib.closing(Connection(port)) as connection,
        pytest.raises(BadMessageError, match="503"),
    ):
        connection.exchange(REQUESTS["New"])


def test_answers_of_all_connections_are_counted():
    with answering(ANSWER) as port:
        assert count_answers(port, REQUESTS["New"], 4, 0.05) > 0


def test_a_difference_is_the_median_of_the_rounds_own_differences():
    figures = summarise(ROUNDS, RATES).figures
    assert figures["differenceNewMs"] == pytest.approx(0.1)
    assert figures["gatewayNewP50Ms"] == pytest.approx(2.3)
    assert figures["ratio"] == pytest.approx(0.7)


def test_both_kinds_of_request_are_held_to_the_bar():
    outcome = summarise(ROUNDS, RATES)
    assert {name: bar.met for name, bar in outcome.bars.items()} == {
        "differenceNewMs": True,
        "differenceContinuedMs": False,
    }


def test_the_gateway_is_measured_in_the_middle_of_a_canary_with_pins_and_lift(tmp_path):
    files = gateway_files(tmp_path, 1234, 1235, 1237, 1236)
    routes = files["rds.json"]["resources"][0]["virtual_hosts"][0]["routes"]
    weights = [r["route"]["weighted_clusters"]["clusters"] for r in routes if "weighted_clusters" in r.get("route", {})]
    assert {f"support/{STABLE}": 80, f"support/{CANARY}": 20} == {c["name"]: c["weight"] for c in weights[0]}
    assert any("typed_per_filter_config" in route for route in routes)
    clusters = [cluster["name"] for cluster in files["cds.json"]["resources"]]
    assert clusters == [f"support/{STABLE}", f"support/{CANARY}", "front_door:support"]


def test_the_continued_conversation_is_pinned_to_the_canary(tmp_path):
    routes = gateway_files(tmp_path, 1234, 1235, 1237, 1236)["rds.json"]["resources"][0]["virtual_hosts"][0]["routes"]
    pins = {h["string_match"]["prefix"]: r["route"]["cluster"] for r in routes for h in _prefixes(r)}
    conversation = re.search(rb'"conversation_id": "([^"]+)"', REQUESTS["Continued"]).group(1).decode()
    found = [cluster for prefix, cluster in pins.items() if conversation.startswith(prefix)]
    assert found == [f"support/{CANARY}"]


def _prefixes(route):
    return [h for h in route["match"].get("headers", ()) if "prefix" in h.get("string_match", {})]


def test_the_bare_envoy_has_one_route_to_one_cluster():
    resources = bare_files(1234, 1236)["bootstrap.json"]["static_resources"]
    assert len(resources["clusters"]) == 1
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    assert [f["name"] for f in manager["http_filters"]] == ["envoy.filters.http.router"]


def test_free_ports_differ():
    assert len(set(free_ports(3))) == 3
