"""The route table of an agent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_gateway.control.publication import clusters_of
from agent_gateway.envoy.render_routes import render_host, render_table
from agent_gateway.envoy.resources import discovery
from tests.unit.gateway.builders import jwt_rule, make_route, revision

STABLE, CANARY, DRAINING = revision("v1", 80), revision("v2", 20, "Canary"), revision("v0", 0, "Draining")


def table(*revisions: dict[str, Any], lease_expired: bool = False, **spec: Any) -> list[dict[str, Any]]:
    return list(render_host(make_route(*revisions, **spec), lease_expired=lease_expired)["routes"])


def named(rules: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [rule for rule in rules if rule["name"] == name]


def split_of(rules: list[dict[str, Any]]) -> dict[str, int]:
    action = named(rules, "split")[0]["route"]
    if "cluster" in action:
        return {action["cluster"]: 100}
    return {cluster["name"]: cluster["weight"] for cluster in action["weighted_clusters"]["clusters"]}


def test_rules_stand_from_the_most_to_the_least_specific() -> None:
    names = [rule["name"] for rule in table(STABLE, CANARY, DRAINING, suspended=True)]
    assert list(dict.fromkeys(names)) == [
        "hidden",
        "follow-up",
        "suspended",
        "invalid-identity",
        "pin",
        "foreign-id",
        "split-lifted",
        "split",
    ]


@pytest.mark.parametrize(("role", "prefix"), [("Stable", "v1."), ("Draining", "v1."), ("Canary", "v1.7.")])
def test_the_role_decides_which_epochs_are_pinned(role: str, prefix: str) -> None:
    (pin,) = named(table(revision("v1", 100, role)), "pin")
    assert pin["match"]["headers"][0]["string_match"] == {"prefix": prefix}
    assert pin["route"]["cluster"] == "support/v1"


def test_a_canary_that_drained_before_keeps_conversations_of_any_epoch() -> None:
    (pin,) = named(table({**revision("v1", 100, "Canary"), "anyEpoch": True}), "pin")
    assert pin["match"]["headers"][0]["string_match"] == {"prefix": "v1."}


@given(weight=st.integers(0, 100), expired=st.booleans(), stickiness=st.sampled_from(["Conversation", "User"]))
def test_the_split_sums_to_100_with_the_canary_first(weight: int, expired: bool, stickiness: str) -> None:
    rules = table(
        revision("v1", 100 - weight),
        revision("v2", weight, "Canary"),
        lease_expired=expired,
        stickiness=stickiness,
    )
    split = split_of(rules)
    assert sum(split.values()) == 100
    assert split.get("support/v2", 0) == (0 if expired else weight)
    if len(split) > 1:
        assert next(iter(split)) == "support/v2"
    assert all(rule["route"] == named(rules, "split")[0]["route"] for rule in named(rules, "split-lifted"))


def test_an_expired_lease_keeps_pins() -> None:
    rules = table(STABLE, CANARY, lease_expired=True)
    assert {pin["route"]["cluster"] for pin in named(rules, "pin")} == {"support/v1", "support/v2"}


def test_follow_ups_of_tasks_stand_above_pins_and_stick_to_nothing() -> None:
    rules = table(STABLE, CANARY, stickiness="User")
    (follow_up,) = named(rules, "follow-up")
    assert follow_up["match"] == {"prefix": "/agent/tasks/"}
    assert follow_up["route"]["cluster"] == "support/v1"
    assert rules.index(follow_up) < rules.index(named(rules, "pin")[0])


def test_a_suspended_agent_takes_cancellations_and_no_other_post() -> None:
    rules = table(STABLE, CANARY, suspended=True)
    cancel = named(rules, "follow-up")[0]
    assert cancel["match"]["safe_regex"] == {"regex": "/agent/tasks/[^/]+/cancel"}
    assert rules.index(cancel) < rules.index(named(rules, "suspended")[0]) < rules.index(named(rules, "follow-up")[1])


@pytest.mark.parametrize(
    ("access", "headers"),
    [
        ({}, ["x-user-id"]),
        ({"apiKeys": True}, ["authorization", "x-api-key"]),
        ({"jwt": jwt_rule()}, ["x-greylag-subject"]),
        ({"jwt": jwt_rule(), "apiKeys": True}, ["x-greylag-subject", "authorization", "x-api-key"]),
    ],
)
def test_the_best_proven_identity_is_the_key_of_the_split(access: dict[str, Any], headers: list[str]) -> None:
    rules = table(STABLE, CANARY, stickiness="User", **access)
    policies = named(rules, "split")[0]["route"]["hash_policy"]
    assert [policy["header"]["header_name"] for policy in policies] == headers
    assert all(policy["terminal"] for policy in policies)
    assert ("user_id" in str(named(rules, "split-lifted"))) is not bool(access)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("u1", "9/u1"),
        ("Bearer k", "9/k"),
        ("bearer k", "9/k"),
        ("Bearer", "9/Bearer"),
        ("Bearer Bearer k", "9/Bearer k"),
    ],
)
def test_a_key_is_the_same_user_with_and_without_its_scheme(text: str, key: str) -> None:
    (policy, _) = named(table(STABLE, CANARY, stickiness="User", epoch=9, apiKeys=True), "split")[0]["route"][
        "hash_policy"
    ]
    salt = policy["header"]["regex_rewrite"]
    assert re.sub(salt["pattern"]["regex"], salt["substitution"], text, count=1) == key


def test_users_are_hashed_with_the_epoch_as_salt() -> None:
    action = named(table(STABLE, CANARY, stickiness="User", epoch=9), "split")[0]["route"]
    assert action["weighted_clusters"]["use_hash_policy"] is True
    header = action["hash_policy"][0]["header"]
    assert header["header_name"] == "x-user-id"
    assert header["regex_rewrite"]["substitution"] == r"9/\1"
    assert "hash_policy" not in named(table(STABLE, CANARY), "split")[0]["route"]


def test_bodies_are_looked_into_only_for_new_runs_and_only_for_what_is_needed() -> None:
    rules = table(STABLE, CANARY)
    looking = [rule for rule in rules if "typed_per_filter_config" in rule]
    assert {rule["match"]["path"] for rule in looking} == {"/agent/run", "/agent/tasks"}
    assert all(rule["match"]["headers"][0]["string_match"] == {"exact": "POST"} for rule in looking)
    assert "user_id" not in str(looking)
    assert "user_id" in str(table(STABLE, CANARY, stickiness="User"))


def test_every_forwarding_rule_has_the_epoch_no_deadline_and_a_long_idle_timeout() -> None:
    for rule in table(STABLE, CANARY, DRAINING, stickiness="User"):
        if "route" not in rule:
            continue
        assert headers_of(rule)["x-greylag-epoch"] == "7"
        assert rule["metadata"]["filter_metadata"]["greylag"]["epoch"] == "7"
        assert rule["route"]["timeout"] == "0s"
        assert rule["route"]["idle_timeout"] == "3660s"


def headers_of(rule: dict[str, Any]) -> dict[str, str]:
    """What a rule sets, whatever the client sent."""
    assert all(added["append_action"] == "OVERWRITE_IF_EXISTS_OR_ADD" for added in rule["request_headers_to_add"])
    return {added["header"]["key"]: added["header"]["value"] for added in rule["request_headers_to_add"]}


def placements(rules: list[dict[str, Any]]) -> dict[str, set[str]]:
    """How each rule says that it placed a request: to the runtime, and to the log of failures."""
    told: dict[str, set[str]] = {}
    for rule in rules:
        if "route" in rule:
            logged = rule["metadata"]["filter_metadata"]["greylag"]["placement"]
            told.setdefault(rule["name"], set()).update({logged, headers_of(rule)["x-greylag-placed"]})
    return told


@pytest.mark.parametrize(
    ("rules", "split"),
    [
        (table(STABLE, CANARY, DRAINING), "split"),
        (table(STABLE, CANARY, DRAINING, stickiness="User"), "split-by-user"),
        (table(STABLE, CANARY, DRAINING, lease_expired=True), "whole"),
        (table(revision("v1", 100), revision("v2", 0, "Canary")), "whole"),
        (table(revision("v1", 0), revision("v2", 100, "Canary"), stickiness="User"), "whole"),
    ],
    ids=["by chance", "by user", "without a lease", "nothing at the canary", "all at the canary"],
)
def test_every_forwarding_rule_says_how_it_placed_a_request(rules: list[dict[str, Any]], split: str) -> None:
    assert placements(rules) == {
        "follow-up": {"foreign"},
        "pin": {"pinned"},
        "foreign-id": {"foreign"},
        "split-lifted": {split},
        "split": {split},
    }


@pytest.mark.parametrize(
    ("access", "users"),
    [({}, "claimed"), ({"apiKeys": True}, "proven"), ({"jwt": jwt_rule()}, "proven")],
)
def test_the_log_of_failures_is_told_whether_a_header_names_users(access: dict[str, Any], users: str) -> None:
    for rule in table(STABLE, CANARY, stickiness="User", **access):
        if "route" in rule:
            assert rule["metadata"]["filter_metadata"]["greylag"]["users"] == users


def test_without_revisions_nothing_is_forwarded() -> None:
    rules = table(suspended=True)
    assert [rule["name"] for rule in rules] == ["hidden", "hidden", "hidden", "suspended", "no-revision"]
    assert all("route" not in rule for rule in rules)


def test_a_bump_of_the_lease_and_a_serial_change_nothing() -> None:
    first = render_host(make_route(STABLE, CANARY, lease={"counter": 1}), lease_expired=False)
    second = render_host(make_route(STABLE, CANARY, lease={"counter": 2}, serial=9), lease_expired=False)
    other = render_host(make_route(STABLE, CANARY, epoch=8), lease_expired=False)
    assert first == second
    assert discovery([first])["version_info"] != discovery([other])["version_info"]


def test_the_listener_and_not_the_host_header_decides_the_agent() -> None:
    hosts = [render_host(make_route(STABLE, CANARY, name=name), lease_expired=False) for name in ("b", "a")]
    resource = render_table(hosts)
    assert resource["validate_clusters"] is True
    assert resource["vhost_header"] == "x-greylag-agent"
    assert [host["domains"] for host in resource["virtual_hosts"]] == [["a"], ["b"]]


def test_the_clusters_of_a_table_are_all_found() -> None:
    assert clusters_of(render_host(make_route(STABLE, CANARY, DRAINING), lease_expired=False)) == {
        "support/v0",
        "support/v1",
        "support/v2",
    }
