"""crds/ is what the models say, and every field of it is described and bounded."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent_api.crdgen import MAX_FILE_BYTES, definition_files, main, outdated_files

CRDS = Path(__file__).parents[2] / "crds"
FILES = {path.name: path for path in sorted(CRDS.glob("*.yaml"))}
Node = tuple[str, dict[str, Any]]


def _version(name: str) -> dict[str, Any]:
    version: dict[str, Any] = yaml.safe_load(FILES[name].read_text(encoding="utf-8"))["spec"]["versions"][0]
    return version


def _nodes(schema: dict[str, Any], path: str = "") -> Iterator[Node]:
    """Every property, list item and map value of a schema with its path."""
    for name, child in schema.get("properties", {}).items():
        if (path, name) == ("", "metadata"):
            continue
        yield f"{path}.{name}", child
        yield from _nodes(child, f"{path}.{name}")
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if key in schema:
            yield f"{path}{suffix}", schema[key]
            yield from _nodes(schema[key], f"{path}{suffix}")


NODES = [
    pytest.param(node, path, id=f"{name.split('_')[1].removesuffix('.yaml')}{path}")
    for name in FILES
    for path, node in _nodes(_version(name)["schema"]["openAPIV3Schema"])
]


def test_folder_equals_the_output_of_the_generator():
    assert outdated_files(CRDS) == []


def test_check_fails_and_names_the_file_when_one_was_edited(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    edited = tmp_path / "greylag.dev_agentroutes.yaml"
    edited.write_text(edited.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert main(["--check", str(tmp_path)]) == 1
    assert "greylag.dev_agentroutes.yaml" in capsys.readouterr().err


def test_files_are_small_enough_for_kubectl_apply():
    assert all(len(text.encode()) < MAX_FILE_BYTES for text in definition_files().values())


@pytest.mark.parametrize(("node", "path"), NODES)
def test_field_is_described(node, path):
    if path.endswith(("[]", ".*")) and node.get("type") != "object":
        return
    assert node.get("description", "").strip().endswith((".", "AgentDeployment", "AgentRoute", "v1alpha1"))


@pytest.mark.parametrize(("node", "path"), NODES)
def test_text_list_or_map_has_a_bound(node, path):
    if path in {".apiVersion", ".kind"}:
        return
    if node.get("type") == "string":
        assert "maxLength" in node or "enum" in node or node.get("format") == "date-time"
    if node.get("type") == "array":
        assert "maxItems" in node
        assert node["x-kubernetes-list-type"] in {"map", "set", "atomic"}
    if "additionalProperties" in node:
        assert "maxProperties" in node


@pytest.mark.parametrize(("node", "path"), NODES)
def test_default_is_a_scalar_outside_of_lists(node, path):
    if "default" in node:
        assert isinstance(node["default"], bool | int | float | str)
        assert "[]" not in path


@pytest.mark.parametrize(("node", "path"), NODES)
def test_pattern_means_the_same_to_go_and_to_rust(node, path):
    """Class escapes are ASCII in Go's engine and Unicode in the models'; look-around exists in neither."""
    pattern = node.get("pattern", "")
    assert not re.search(r"\\[sSdDwWbB]", pattern)
    assert not re.search(r"\(\?", pattern)


@pytest.mark.parametrize(("node", "path"), NODES)
def test_rule_names_a_field_that_exists(node, path):
    for rule in node.get("x-kubernetes-validations", []):
        assert rule["message"]
        if "fieldPath" in rule:
            assert rule["fieldPath"].removeprefix(".") in node["properties"]


def test_agents_can_be_scaled_and_report_status_apart_from_the_spec():
    assert _version("greylag.dev_agentdeployments.yaml")["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_routes_have_no_status_so_that_one_write_is_one_transition():
    assert "subresources" not in _version("greylag.dev_agentroutes.yaml")


@pytest.mark.parametrize("name", FILES)
def test_columns_point_at_fields_of_the_schema(name):
    version = _version(name)
    for column in version["additionalPrinterColumns"]:
        node = version["schema"]["openAPIV3Schema"]
        if column["jsonPath"] == ".metadata.creationTimestamp":
            continue
        for part in column["jsonPath"].removeprefix(".").split("."):
            node = node["properties"][part]
        assert node["type"] == column["type"]
