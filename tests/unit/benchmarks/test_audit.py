"""Writes as the audit log tells of them."""

from __future__ import annotations

import json

from benchmarks.audit import OPERATOR, AuditLog, count_by_resource, of_operator, parse_write, route_writes


def line(**changes):
    entry = {
        "user": {"username": OPERATOR},
        "verb": "update",
        "objectRef": {"resource": "agentroutes", "namespace": "team", "name": "support"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2030-01-01T00:00:01.500000Z",
        "requestObject": {"spec": {"serial": 4}},
    }
    return json.dumps({**entry, **changes}).encode() + b"\n"


def at(second, serial, **changes):
    return parse_write(
        line(
            requestReceivedTimestamp=f"2030-01-01T00:00:{second:02d}.000000Z",
            requestObject={"spec": {"serial": serial}},
            **changes,
        )
    )


def test_a_line_tells_who_wrote_what_and_when():
    write = parse_write(line())
    assert (write.user, write.verb, write.resource, write.namespace, write.name) == (
        OPERATOR,
        "update",
        "agentroutes",
        "team",
        "support",
    )
    assert write.received == 1893456001.5


def test_a_subresource_is_told_from_its_object():
    what = {"resource": "agentdeployments", "subresource": "status", "namespace": "team", "name": "support"}
    assert parse_write(line(objectRef=what)).resource == "agentdeployments/status"


def test_an_entry_without_an_object_is_read_as_well():
    write = parse_write(line(objectRef={}, requestObject=None))
    assert (write.resource, write.namespace, write.body) == ("", "", {})


def test_the_first_write_of_a_serial_counts():
    writes = [at(1, 2), at(3, 2), at(5, 3)]
    first = writes[0].received
    assert route_writes(writes, "support") == {2: first, 3: first + 4}


def test_a_refused_write_or_another_agents_begins_nothing():
    other = {"resource": "agentroutes", "namespace": "team", "name": "other"}
    writes = [at(1, 2, responseStatus={"code": 409}), at(2, 2, objectRef=other)]
    assert route_writes(writes, "support") == {}


def test_only_the_operators_writes_in_the_namespace_are_counted():
    elsewhere = {"resource": "agentroutes", "namespace": "other", "name": "support"}
    writes = [at(1, 1), at(1, 1, user={"username": "admin"}), at(1, 1, objectRef=elsewhere)]
    assert count_by_resource(of_operator(writes, "team")) == {"update agentroutes": 1}


def test_only_whole_new_lines_are_read(tmp_path):
    path = tmp_path / "audit.log"
    path.write_bytes(line())
    log = AuditLog(path)
    half = line(verb="create")
    with path.open("ab") as file:
        file.write(line(verb="patch") + half[:20])
    assert [write.verb for write in log.writes()] == ["patch"]
    with path.open("ab") as file:
        file.write(half[20:])
    assert [write.verb for write in log.writes()] == ["create"]
