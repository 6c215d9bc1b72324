"""The front door's routes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gateway.control.publication import clusters_of
from agent_gateway.envoy.render_front_door import Entry, entry_of, read_entries, render_door_host
from agent_gateway.watching.endpoints import Endpoint
from tests.unit.gateway.builders import make_route, revision

POD = frozenset({Endpoint("10.0.0.1", 8080)})
SUPPORT = Entry("support", "helps", "serving", "/agents/support")
SALES = Entry("sales", "sells", "suspended", "/agents/sales")


def rules(*entries: Entry) -> list[dict[str, Any]]:
    return list(render_door_host(entries)["routes"])


def document(path: str, *entries: Entry) -> Any:
    (rule,) = [rule for rule in rules(*entries) if rule["match"].get("path") == path and "direct_response" in rule]
    return json.loads(rule["direct_response"]["body"]["inline_string"])


@given(st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), st.text(max_size=40)))
def test_entries_come_back_as_they_were_written(found: dict[str, str]) -> None:
    entries = {name: Entry(name, text, "serving", f"/agents/{name}") for name, text in found.items()}
    assert read_entries(render_door_host(entries.values())) == entries


def test_the_order_of_agents_changes_nothing() -> None:
    assert render_door_host([SUPPORT, SALES]) == render_door_host([SALES, SUPPORT])


@pytest.mark.parametrize(
    ("spec", "endpoints", "health"),
    [
        ({}, {"support/v1": POD}, "serving"),
        ({}, {"support/v2": POD}, "unavailable"),
        ({}, {"support/v1": frozenset()}, "unavailable"),
        ({"suspended": True}, {"support/v1": POD}, "suspended"),
        ({"suspended": True, "revisions": []}, {}, "suspended"),
        ({"revisions": []}, {}, "no-revision"),
        ({"revisions": [revision("v1", 60), revision("v2", 40, "Canary")]}, {"support/v2": POD}, "serving"),
    ],
)
def test_health_is_what_a_caller_can_expect(spec: dict[str, Any], endpoints: Any, health: str) -> None:
    revisions = spec.pop("revisions", [revision("v1", 100), revision("v2", 0, "Canary")])
    entry = entry_of(make_route(*revisions, description="helps", **spec), endpoints)
    assert entry == Entry("support", "helps", health, "/agents/support")


def test_lists_name_every_agent() -> None:
    assert [agent["name"] for agent in document("/agents", SUPPORT, SALES)["agents"]] == ["sales", "support"]
    assert [model["id"] for model in document("/v1/models", SUPPORT, SALES)["data"]] == ["sales", "support"]
    assert document("/agents/sales", SUPPORT, SALES)["health"] == "suspended"
    assert document("/agents") == {"agents": []}


def test_agents_are_forwarded_to_their_own_listener_with_no_attempt_of_its_own() -> None:
    host = render_door_host([SUPPORT, SALES])
    assert clusters_of(host) == {"front_door:support", "front_door:sales"}
    assert "retry_policy" not in str(host)
    for rule in host["routes"]:
        if "route" in rule:
            assert (rule["route"]["timeout"], rule["route"]["idle_timeout"]) == ("0s", "3660s")


def test_only_a_chat_without_a_known_agent_is_looked_into() -> None:
    found = rules(SUPPORT)
    names = [rule["name"] for rule in found]
    assert names == [
        "list",
        "models",
        "entry",
        "agent",
        "model",
        "unknown-model",
        "model-lifted",
        "unknown-agent",
        "no-such-page",
    ]
    (lifting,) = [rule for rule in found if "typed_per_filter_config" in rule]
    assert lifting["name"] == "model-lifted"
    assert lifting["direct_response"]["status"] == 400
