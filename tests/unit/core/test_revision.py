"""Names of revisions: every behaviour changes them, nothing else does, and no release may."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from agent_api.change_kinds import ChangeKind, change_kind_of
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.revision import endpoints_of, make_document, revision_name, short_hash

REPOSITORY = Path(__file__).parents[3]
DATA = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))
FULL = DATA["base"]["spec"]
GOLDEN = json.loads((Path(__file__).parent / "data/revisions.json").read_text(encoding="utf-8"))
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
    if isinstance(value, int | float):
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


def test_writing_a_default_down_makes_no_revision():
    spec = {"agent": {"instructions": "x"}, "model": {"name": "m", "baseURL": "https://m.example"}}
    written = copy.deepcopy(spec)
    written["agent"] |= {"maxIterations": 10, "timeout": "5m"}
    written["model"] |= {"timeouts": {"idle": "15s"}, "parameters": {}}
    written["resilience"] = {"maxAttempts": 3}
    written["runtime"] = {"env": [], "resources": {}}
    assert name_of(written) == name_of(spec)


def test_the_order_of_keys_makes_no_revision_but_that_of_fallbacks_does():
    first, second = ({"name": name, "baseURL": "https://m.example"} for name in "ab")
    reordered = dict(reversed(FULL.items()))
    assert name_of(reordered) == name_of(FULL)
    assert name_of({**FULL, "fallback": [first, second]}) != name_of({**FULL, "fallback": [second, first]})


@pytest.mark.parametrize("key", sorted(GOLDEN))
def test_no_release_renames_revisions(key):
    spec = FULL if key == "full" else yaml.safe_load((REPOSITORY / "examples" / key / "agent.yaml").read_text())["spec"]
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
    document = make_document("support", "support-x", spec, "the text")
    assert (document.agent, document.revision, document.instructions) == ("support", "support-x", "the text")
    assert [endpoint.model for endpoint in document.endpoints] == [entry.name for entry in endpoints_of(spec)]
    assert document.endpoints[0].base_url == spec.model.base_url
    assert "api-key" not in document.model_dump_json()


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
    document = make_document("a", "r", spec, "t")
    endpoint = document.endpoints[0]
    assert (document.timeout_seconds, document.max_iterations) == (120.0, 7)
    assert (endpoint.first_token_seconds, endpoint.idle_seconds, endpoint.total_seconds) == (1.0, 2.0, 180.0)
    assert (endpoint.temperature, endpoint.max_output_tokens, endpoint.model) == (0.5, 9, "m")
    assert (document.retry.max_attempts, document.retry.base_delay_seconds) == (4, 0.5)
    assert document.retry.max_delay_seconds == 90.0
