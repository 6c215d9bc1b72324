"""How tokens are checked."""

from __future__ import annotations

from typing import Any

import pytest

from agent_gateway.envoy.render_access import ACCESS_FILTER, access_filter, access_of
from tests.unit.gateway.builders import jwt_rule, make_route, revision


def check_of(**spec: object) -> dict[str, Any]:
    """Configuration of the check that an agent's virtual host carries."""
    matcher = access_of(make_route(revision("v1", 100), jwt=jwt_rule(), **spec))[ACCESS_FILTER]["xds_matcher"]
    check: dict[str, Any] = matcher["on_no_match"]["action"]["typed_config"]["typed_config"]["typed_config"]
    return check


@pytest.mark.parametrize("spec", [{}, {"apiKeys": True}, {"jwt": None}])
def test_an_agent_that_takes_no_tokens_checks_none(spec: dict[str, Any]) -> None:
    assert access_of(make_route(revision("v1", 100), **spec)) == {}


def test_a_listener_checks_nothing_by_itself() -> None:
    assert "SkipFilter" in str(access_filter())


def test_the_agents_pages_are_protected_and_its_probes_are_not() -> None:
    assert [rule["match"] for rule in check_of()["rules"]] == [
        {"path_separated_prefix": "/agent"},
        {"path_separated_prefix": "/v1"},
    ]


@pytest.mark.parametrize(("keys", "optional"), [(False, False), (True, True)])
def test_a_token_is_required_unless_a_key_may_stand_in_its_place(keys: bool, optional: bool) -> None:
    for rule in check_of(apiKeys=keys)["rules"]:
        assert ("allow_missing_or_failed" in str(rule["requires"])) is optional


def test_the_runtime_gets_the_token_too_and_the_query_holds_none() -> None:
    (provider,) = check_of()["providers"].values()
    assert (provider["issuer"], provider["audiences"]) == ("https://idp.example", ["agents"])
    assert provider["forward"] is True
    assert provider["clear_route_cache"] is True
    assert {header["name"] for header in provider["from_headers"]} == {"authorization"}
