"""Defaults of the API server and of the models agree: an object parses the same before and after it was stored."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.change_kinds import behaviour_of
from agent_api.crd.definitions import agent_deployment_definition
from agent_api.v1alpha1.agent import AgentDeployment

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*/agent.yaml"))
FULL = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))["base"]
SCHEMA = agent_deployment_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

Location = tuple[str, ...]


def _defaulted(schema: dict[str, Any], value: Any) -> Any:
    """Fill in defaults as the API server does: into objects that are there, never making one."""
    if isinstance(value, list):
        return [_defaulted(schema["items"], item) for item in value]
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    filled = {name: child["default"] for name, child in schema["properties"].items() if "default" in child}
    return filled | {name: _defaulted(schema["properties"][name], child) for name, child in value.items()}


def _optional(schema: dict[str, Any], value: Any, at: Location = ()) -> list[Location]:
    """Places of the optional fields that a manifest sets, outside of lists."""
    found = []
    for name, child in value.items() if isinstance(value, dict) and "properties" in schema else ():
        if name not in schema.get("required", []):
            found.append((*at, name))
        found += _optional(schema["properties"][name], child, (*at, name))
    return found


OPTIONAL = [
    place for place in _optional(SCHEMA["properties"]["spec"], FULL["spec"]) if place != ("agent", "instructions")
]


def _without(manifest: dict[str, Any], places: set[Location]) -> dict[str, Any]:
    result = copy.deepcopy(manifest)
    for place in places:
        node = result["spec"]
        for part in place[:-1]:
            node = node.get(part, {})
        node.pop(place[-1], None)
    return result


def _assert_same_before_and_after(manifest: dict[str, Any]) -> None:
    before = AgentDeployment.model_validate(manifest)
    after = AgentDeployment.model_validate(_defaulted(SCHEMA, manifest))
    assert after.spec == before.spec
    assert behaviour_of(after.spec) == behaviour_of(before.spec)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_example_parses_the_same_before_and_after_defaulting(path):
    _assert_same_before_and_after(yaml.safe_load(path.read_text(encoding="utf-8")))


@settings(max_examples=100, deadline=None)
@given(places=st.sets(st.sampled_from(OPTIONAL)))
def test_any_choice_of_optional_fields_parses_the_same_before_and_after_defaulting(places):
    _assert_same_before_and_after(_without(FULL, places))


def test_defaulting_makes_no_object_that_was_absent():
    manifest = yaml.safe_load(EXAMPLES[0].read_text(encoding="utf-8"))
    assert _defaulted(SCHEMA, manifest)["spec"].keys() - manifest["spec"].keys() == {"replicas", "paused", "suspend"}
