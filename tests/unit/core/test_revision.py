"""Names of revisions: every behaviour changes them, nothing else does, and no release may."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from agent_api.change_kinds import ChangeKind, change_kind_of
from agent_api.meta import KeyReference
from agent_api.runtime_document import (
    BreakerDocument,
    CacheDocument,
    ConversationsDocument,
    GuardsDocument,
    HeaderDocument,
    PriceDocument,
    RuntimeDocument,
    ToolPolicyDocument,
)
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_api.v1alpha1.guards import CacheScope, Redaction
from agent_api.v1alpha1.tools import ToolAction
from agent_operator.core.revision import endpoints_of, make_document, open_api_references, revision_name, short_hash

REPOSITORY = Path(__file__).parents[3]
DATA = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))
FULL = DATA["base"]["spec"]
GOLDEN = json.loads((Path(__file__).parent / "data/revisions.json").read_text(encoding="utf-8"))
MINIMAL = {"agent": {"instructions": "x"}, "model": {"name": "m", "baseURL": "https://m.example"}}
CHOICES = {
    "User": "Conversation",
    "Conversation": "User",
    "Rollback": "Pause",
    "Pause": "Promote",
    "Promote": "Pause",
    "NoSchedule": "PreferNoSchedule",
    "NoExecute": "NoSchedule",
    "Equal": "Exists",
    "Exists": "Equal",
    "Agent": "User",
    "Summarise": "Trim",
    "Downgrade": "Reject",
    "RequireApproval": "Deny",
    "Allow": "RequireApproval",
    "Deny": "Allow",
    "MySQL": "SQLite",
    "emails": "tokens",
}


def parse(spec):
    return AgentDeploymentSpec.model_validate(spec)


def name_of(spec, instructions="You answer."):
    return revision_name("support", parse(spec), instructions)


def leaves(node, path=(), wire=""):
    """Paths of all values of a spec: as keys, and as the table of kinds writes them."""
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from leaves(value, (*path, key), f"{wire}.{key}" if wire else key)
    elif isinstance(node, list) and node and isinstance(node[0], dict):
        for number, value in enumerate(node):
            yield from leaves(value, (*path, number), f"{wire}[]")
    else:
        yield path, wire


def other(value):
    """Another valid value of the same sort."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, list):
        return [*value[:-1], other(value[-1])]
    if isinstance(value, float):
        return value / 2
    if isinstance(value, int):
        return value + 1 if value < 1 or value > 2 else value - 1
    if value in CHOICES:
        return CHOICES[value]
    if value[:1] == "0" and "." in value:
        return "0.5"
    return f"1{value}" if value[:1].isdigit() else f"{value}x"


ONLY_ONE_VALUE = {
    "rollout.canary.analysis.metrics[].name",
    "rollout.canary.steps[].analyze",
    "rollout.canary.steps[].pause",
}
CHANGES = [(wire, path) for path, wire in leaves(FULL) if wire not in ONLY_ONE_VALUE]


@pytest.mark.parametrize(("wire", "path"), CHANGES, ids=[f"{wire}:{path[-1]}" for wire, path in CHANGES])
def test_a_change_makes_a_revision_if_and_only_if_it_is_behaviour(wire, path):
    changed = copy.deepcopy(FULL)
    node = changed
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = other(node[path[-1]])
    behaviour = change_kind_of(wire) is ChangeKind.BEHAVIOUR
    assert (name_of(changed) != name_of(FULL)) is behaviour


def test_the_referenced_text_is_behaviour():
    assert name_of(FULL, "a") != name_of(FULL, "b")


def test_a_description_of_an_api_is_behaviour_and_none_leaves_the_name_as_it_was():
    spec = parse(FULL)
    names = {revision_name("support", spec, "x", texts) for texts in ({}, {"weather": "a"}, {"weather": "b"})}
    assert len(names) == 3
    assert revision_name("support", spec, "x", {}) == revision_name("support", spec, "x")
    ordered, turned = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    assert revision_name("support", spec, "x", ordered) == revision_name("support", spec, "x", turned)


def test_descriptions_are_referenced_by_the_name_of_their_source():
    assert open_api_references(parse(FULL)) == {"weather": KeyReference(name="weather-api", key="openapi.yaml")}
    assert open_api_references(parse(MINIMAL)) == {}


def test_writing_a_default_down_makes_no_revision():
    spec = MINIMAL
    written = copy.deepcopy(spec)
    written["agent"] |= {"maxIterations": 10, "timeout": "5m"}
    written["model"] |= {"timeouts": {"idle": "15s"}, "parameters": {}}
    written["resilience"] = {"maxAttempts": 3}
    written["runtime"] = {"env": [], "resources": {}}
    written["toolPolicy"] = {"rules": [], "maxConcurrent": 8}
    written["guards"] = {"input": {}, "output": {"blockedPatterns": []}}
    written["tools"], written["cache"] = [], None
    assert name_of(written) == name_of(spec)


def test_the_order_of_keys_makes_no_revision_but_that_of_fallbacks_does():
    first, second = ({"name": name, "baseURL": "https://m.example"} for name in "ab")
    reordered = dict(reversed(FULL.items()))
    assert name_of(reordered) == name_of(FULL)
    assert name_of({**FULL, "fallback": [first, second]}) != name_of({**FULL, "fallback": [second, first]})


@pytest.mark.parametrize("key", sorted(GOLDEN))
def test_no_release_renames_revisions(key):
    files = {"full": None, "first-release": "tests/data/first_release.yaml"}
    file = files.get(key, f"examples/{key}/agent.yaml")
    spec = FULL if file is None else yaml.safe_load((REPOSITORY / file).read_text(encoding="utf-8"))["spec"]
    assert name_of(spec) == GOLDEN[key]


def test_names_begin_with_the_agent_and_spell_no_words():
    name = name_of(FULL)
    agent, _, digits = name.rpartition("-")
    assert (agent, len(digits)) == ("support", 10)
    assert not set(digits) & set("aeiou013")
    assert short_hash("x", 63) != short_hash("y", 63)
    assert short_hash({"a": 1, "b": "ü"}) == short_hash({"b": "ü", "a": 1}) == "474m9fgt7h"


def test_the_document_says_all_of_the_behaviour():
    spec = parse(FULL)
    document = make_document("support", "support-x", spec, "the text", namespace="team-a", open_api={"weather": "{}"})
    assert (document.agent, document.revision, document.instructions) == ("support", "support-x", "the text")
    assert [endpoint.model for endpoint in document.endpoints] == [entry.name for entry in endpoints_of(spec)]
    assert document.endpoints[0].base_url == spec.model.base_url
    assert (document.namespace, document.version) == ("team-a", 1)
    text = document.model_dump_json()
    assert not [name for name in ("api-key", "support-keys", "redis", "tenant") if name in text]


def full_document():
    return make_document("support", "r", parse(FULL), "t", namespace="team-a", open_api={"weather": "{}"})


def test_prices_of_the_document_are_in_micro_dollars():
    endpoints = full_document().endpoints
    assert endpoints[0].price == PriceDocument(input_micro=2_500_000, output_micro=10_000_000)
    assert endpoints[1].price == PriceDocument(input_micro=0, output_micro=1)
    assert make_document("a", "r", parse(MINIMAL), "t", namespace="n").endpoints[0].price is None


def test_parameters_of_the_document_are_passed_on_as_they_are():
    endpoint = full_document().endpoints[0]
    assert endpoint.extra == {"seed": 7, "reasoning_effort": "low", "metadata": {"team": "a"}}
    assert (endpoint.top_p, endpoint.temperature) == (0.9, 0.2)


def test_sources_of_tools_hold_names_of_headers_and_the_description():
    kb, weather, orders = full_document().tools
    assert (kb.name, kb.mcp_url, kb.headers) == (
        "kb",
        "http://kb-mcp:8000/mcp",
        (HeaderDocument(name="Authorization"),),
    )
    assert (kb.idempotent, kb.open_api, kb.open_api_url) == (("search*",), None, None)
    assert (weather.mcp_url, weather.open_api, weather.base_url) == (None, "{}", "https://weather.example.com/v1")
    assert [header.name for header in weather.headers] == ["X-Api-Key", "X-Tenant"]
    assert (orders.open_api_url, orders.base_url) == ("https://orders.example.com/openapi.json", None)


def test_policy_guards_and_cache_are_in_the_document():
    document = full_document()
    policy = document.tool_policy
    assert policy.rules == parse(FULL).tool_policy.rules
    assert (policy.default, policy.timeout_seconds) == (ToolAction.REQUIRE_APPROVAL, 20.0)
    assert (policy.max_output_bytes, policy.max_calls_per_run, policy.max_concurrent) == (20_000, 30, 4)
    guards = document.guards
    assert (guards.max_length, guards.redact) == (5000, (Redaction.API_KEYS, Redaction.EMAILS))
    assert guards.blocked_input == ("(?i)ignore all previous instructions",)
    assert guards.blocked_output == ("internal use only",)
    assert document.cache == CacheDocument(ttl_seconds=3600, scope=CacheScope.AGENT)


def test_breaker_retry_and_conversations_are_in_the_document():
    document = full_document()
    assert document.breaker == BreakerDocument(
        failure_threshold=10, failure_percent=40, window_seconds=120, recovery_seconds=30
    )
    assert document.retry.max_attempts_per_run == 20
    assert document.conversations == ConversationsDocument(ttl_seconds=43_200, max_tokens=8000, summarise=True)


def test_a_spec_of_defaults_makes_the_documents_own_defaults():
    document = make_document("a", "r", parse(MINIMAL), "t", namespace="n")
    assert document.breaker == BreakerDocument()
    assert document.conversations == ConversationsDocument()
    assert document.tool_policy == ToolPolicyDocument()
    assert document.guards == GuardsDocument()
    assert (document.tools, document.cache) == ((), None)


def test_a_document_is_read_back_as_it_was_written():
    document = full_document()
    assert RuntimeDocument.model_validate_json(document.model_dump_json(by_alias=True)) == document


def test_durations_of_the_document_are_in_seconds():
    spec = parse(
        {
            "agent": {"instructions": "x", "timeout": "2m", "maxIterations": 7},
            "model": {
                "name": "m",
                "baseURL": "https://m.example",
                "parameters": {"temperature": 0.5, "maxOutputTokens": 9},
                "timeouts": {"firstToken": "1s", "idle": "2s", "total": "3m"},
            },
            "resilience": {"maxAttempts": 4, "baseDelay": "500ms", "maxDelay": "1m30s"},
        }
    )
    document = make_document("a", "r", spec, "t", namespace="n")
    endpoint = document.endpoints[0]
    assert (document.timeout_seconds, document.max_iterations) == (120.0, 7)
    assert (endpoint.first_token_seconds, endpoint.idle_seconds, endpoint.total_seconds) == (1.0, 2.0, 180.0)
    assert (endpoint.temperature, endpoint.max_output_tokens, endpoint.model) == (0.5, 9, "m")
    assert (document.retry.max_attempts, document.retry.base_delay_seconds) == (4, 0.5)
    assert document.retry.max_delay_seconds == 90.0
