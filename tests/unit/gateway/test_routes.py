"""Which AgentRoutes are read, and how."""

from __future__ import annotations

from typing import Any

import pytest

from agent_gateway.watching.routes import InvalidRouteError, parse_route
from tests.unit.gateway.builders import jwt_rule, make_route, revision, route_item


def test_fields_of_a_newer_operator_and_the_ledger_are_left_out() -> None:
    newer = {**revision("v1", 100), "mirrorPercent": 5}
    item = route_item(revisions=[newer], headerRoutes=[], rollout={"stepIndex": "not even a number"})
    assert [r.name for r in parse_route(item).spec.revisions] == ["v1"]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (route_item(revisions=[revision("v1", 90)]), "sum to 90"),
        (route_item(revisions=[revision("v1", 50), revision("v1", 50)]), "named twice"),
        (route_item(port=80), "port"),
        (route_item(jwt=jwt_rule(jwks="no JSON")), "Web Key Set"),
        (route_item(jwt=jwt_rule(jwks='{"keys": []}')), "Web Key Set"),
        (route_item(jwt=jwt_rule(jwks='{"keys": {}}')), "Web Key Set"),
        (route_item(jwt=jwt_rule(jwks="[1]")), "Web Key Set"),
        (route_item(jwt=jwt_rule(audiences=[])), "audiences"),
        (route_item(jwt={"issuer": "i"}), "audiences"),
        (route_item(jwt="x"), "not an AgentRoute|jwt"),
        (route_item(revisions=[{"name": "v1", "weight": 100, "role": "Stable"}]), "service"),
        ({"metadata": {"name": "support", "uid": "u"}}, "not an AgentRoute"),
        ({"metadata": {"name": "support", "uid": "u"}, "spec": {"revisions": 3}}, "not an AgentRoute"),
    ],
)
def test_a_route_that_cannot_be_served_is_refused_with_the_reason(item: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRouteError, match=reason):
        parse_route(item)


def test_access_and_description_are_read() -> None:
    spec = parse_route(route_item(description="helps", apiKeys=True, jwt=jwt_rule(newer=1))).spec
    assert (spec.description, spec.api_keys) == ("helps", True)
    assert spec.jwt is not None
    assert (spec.jwt.issuer, spec.jwt.audiences) == ("https://idp.example", ("agents",))
    assert parse_route(route_item(jwt=None)).spec.jwt is None


def test_an_agent_without_revisions_is_a_route_too() -> None:
    assert parse_route(route_item(revisions=[])).fallback is None


@pytest.mark.parametrize(
    ("revisions", "fallback"),
    [
        ([revision("v2", 90, "Canary"), revision("v1", 10)], "v1"),
        ([revision("v2", 100, "Canary"), revision("v0", 0, "Draining")], "v2"),
    ],
)
def test_stable_takes_what_nothing_else_decides(revisions: list[dict[str, Any]], fallback: str) -> None:
    found = make_route(*revisions).fallback
    assert found is not None
    assert found.name == fallback


@pytest.mark.parametrize(("weight", "leased"), [(0, False), (1, True), (99, True), (100, False)])
def test_a_canary_between_0_and_100_needs_a_lease(weight: int, leased: bool) -> None:
    assert make_route(revision("v1", 100 - weight), revision("v2", weight, "Canary")).leased is leased
