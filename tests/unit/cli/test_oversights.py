"""What is allowed in an agent and surely not meant: what is noted, and what is not."""

from __future__ import annotations

import pytest

from agent_api.v1alpha1.agent import AgentDeployment
from agentctl.local.manifest import Bundle
from agentctl.local.oversights import oversights

MODEL = {"name": "m", "baseURL": "http://127.0.0.1:9/v1"}
KB = {"name": "kb", "mcp": {"url": "http://kb/mcp"}}
SHOP = {"name": "shop", "mcp": {"url": "http://shop/mcp"}}


def notes(spec, **keys):
    """What is noted of a spec; `keys` are the entries of the Secret `people`."""
    document = {"apiVersion": "greylag.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": "a"}}
    good = {"agent": {"instructions": "Be kind."}, "model": MODEL}
    agent = AgentDeployment.model_validate({**document, "spec": {**good, **spec}})
    return list(oversights(Bundle(agent, {("Secret", "people", user): key for user, key in keys.items()})))


def policy(*tools, sources=(KB, SHOP)):
    rules = [{"tools": [glob], "action": "Allow"} for glob in tools]
    return {"tools": list(sources), "toolPolicy": {"rules": rules}}


def test_an_access_that_keeps_nobody_out_is_noted():
    assert notes({"access": {}}) == [
        "spec.access: lets everybody in who reaches the agent, as it has neither apiKeysSecretRef nor jwt"
    ]
    assert notes({}) == []
    assert notes({"access": {"apiKeysSecretRef": {"name": "people"}}}) == []


def test_rules_that_can_match_no_tool_are_noted():
    assert notes(policy("search*", "kb.search", "shpo.*", "kb")) == [
        "spec.toolPolicy.rules[0].tools: search* can match no tool; names of tools begin with kb. or shop.",
        "spec.toolPolicy.rules[2].tools: shpo.* can match no tool; names of tools begin with kb. or shop.",
        "spec.toolPolicy.rules[3].tools: kb can match no tool; names of tools begin with kb. or shop.",
    ]
    assert notes(policy("kb.*", sources=())) == [
        "spec.toolPolicy.rules[0].tools: kb.* can match no tool; spec.tools names no source"
    ]


def test_a_rule_of_which_one_glob_may_match_is_not_noted():
    rule = {"tools": ["other.*", "kb.search"], "action": "Deny"}
    assert notes({"tools": [KB], "toolPolicy": {"rules": [rule]}}) == []


@pytest.mark.parametrize("glob", ["*", "*.search", "k*", "k?.search", "kb.*", "kb?search", "??.search", "shop.get*"])
def test_a_glob_that_may_match_is_not_noted(glob):
    assert notes(policy(glob)) == []


@pytest.mark.parametrize("timeouts", [{"firstToken": "6s", "total": "5s"}, {"firstToken": "2m"}])
def test_a_first_token_that_is_awaited_longer_than_the_call_is_noted(timeouts):
    model = {**MODEL, "timeouts": timeouts}
    total = timeouts.get("total", "60s")
    said = f"is never waited for, as total ends the call after {total}; raise total or lower firstToken"
    assert notes({"model": model, "fallback": [MODEL, model]}) == [
        f"spec.model.timeouts.firstToken: {timeouts['firstToken']} {said}",
        f"spec.fallback[1].timeouts.firstToken: {timeouts['firstToken']} {said}",
    ]


@pytest.mark.parametrize("timeouts", [{"total": "5s"}, {"firstToken": "5s", "total": "5s"}, {}])
def test_a_default_that_is_cut_short_by_a_shorter_total_is_not_noted(timeouts):
    assert notes({"model": {**MODEL, "timeouts": timeouts}}) == []


def test_api_keys_that_can_be_guessed_are_noted_without_them():
    access = {"access": {"apiKeysSecretRef": {"name": "people"}}}
    assert notes(access, ann="short", bob="0123456789abcdef", cat="fedcba9876543210\n012345678\n", dan="") == [
        f"spec.access.apiKeysSecretRef: an API key of {user} has fewer than 16 characters and can be guessed;"
        " make one with `openssl rand -hex 32`"
        for user in ("ann", "cat")
    ]
