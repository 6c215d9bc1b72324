"""Structural schemas of Kubernetes from the JSON schema of a pydantic model.

What the API server does not know is resolved (`$ref`, `anyOf` with null, `const`) or dropped (titles,
`additionalProperties: false`, which strict field validation stands in for); what it would refuse is an error here.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]
Definitions = dict[str, Schema]

COPIED = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
    "maxProperties",
    "anyOf",
)
EXTENSION_PREFIX = "x-kubernetes-"
DROPPED = {
    "title",
    "examples",
    "deprecated",
    "const",
    "default",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "$defs",
}


class Defaults(Enum):
    """Where scalar defaults are written; those of objects and lists never are, so that absent stays absent."""

    EVERYWHERE = auto()
    OUTSIDE_LISTS = auto()
    NOWHERE = auto()

    def below_list(self) -> Defaults:
        """What holds in a list item: a default there would show as drift in GitOps tools."""
        return Defaults.EVERYWHERE if self is Defaults.EVERYWHERE else Defaults.NOWHERE


class UnsupportedSchemaError(ValueError):
    """A model says what a structural schema cannot; the text names the path."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """Structural schema of a model, with the names that the wire uses.

    Raises
    ------
    UnsupportedSchemaError
        If a field has no counterpart in a structural schema.
    """
    document = model.model_json_schema(by_alias=True)
    return _convert(document, document.get("$defs", {}), model.__name__, defaults=Defaults.OUTSIDE_LISTS)


def documented_schema(model: type[BaseModel]) -> Schema:
    """Structural schema as a reader wants it: with the scalar defaults of list items, which only the models apply.

    Raises
    ------
    UnsupportedSchemaError
        If a field has no counterpart in a structural schema.
    """
    document = model.model_json_schema(by_alias=True)
    return _convert(document, document.get("$defs", {}), model.__name__, defaults=Defaults.EVERYWHERE)


def _convert(source: Schema, definitions: Definitions, path: str, *, defaults: Defaults) -> Schema:
    node, definitions = _resolved(source, definitions, path)
    unknown = {key for key in node if key not in COPIED and key not in DROPPED and not key.startswith(EXTENSION_PREFIX)}
    if unknown:
        raise UnsupportedSchemaError(f"{path}: {', '.join(sorted(unknown))} has no counterpart in a structural schema")
    result: Schema = {key: node[key] for key in COPIED if key in node}
    if "const" in node:
        result["enum"] = [node["const"]]
    _make_bounds_inclusive_or_flagged(result)
    if defaults is not Defaults.NOWHERE and isinstance(node.get("default"), bool | int | float | str):
        result["default"] = node["default"]
    if node.get("type") == "object":
        _convert_object(node, result, definitions, path, defaults=defaults)
    if node.get("type") == "array":
        _convert_array(node, result, definitions, path, defaults=defaults.below_list())
    result.update({key: node[key] for key in sorted(node) if key.startswith(EXTENSION_PREFIX)})
    if "type" not in result and "x-kubernetes-int-or-string" not in result:
        raise UnsupportedSchemaError(f"{path}: has no type")
    return result


def _convert_object(node: Schema, result: Schema, definitions: Definitions, path: str, *, defaults: Defaults) -> None:
    if node.get("properties"):
        if node.get("required"):
            result["required"] = sorted(node["required"])
        result["properties"] = {
            name: _convert(child, definitions, f"{path}.{name}", defaults=defaults)
            for name, child in node["properties"].items()
        }
    elif isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _convert(
            node["additionalProperties"], definitions, f"{path}.*", defaults=defaults
        )


def _convert_array(node: Schema, result: Schema, definitions: Definitions, path: str, *, defaults: Defaults) -> None:
    if not isinstance(node.get("items"), dict):
        raise UnsupportedSchemaError(f"{path}: a list needs one schema of its items")
    items = _convert(node["items"], definitions, f"{path}[]", defaults=defaults)
    result["items"] = items
    keys = node.get("x-kubernetes-list-map-keys", [])
    missing = [key for key in keys if key not in items.get("required", [])]
    if missing:
        raise UnsupportedSchemaError(f"{path}: the list's key {missing[0]} must be required")
    if "x-kubernetes-list-type" not in node:
        result["x-kubernetes-list-type"] = "atomic"


def _resolved(source: Schema, definitions: Definitions, path: str) -> tuple[Schema, Definitions]:
    """Follow `$ref` and drop the null of an optional field; what stands beside them wins.

    Returns the node and the definitions that may stand below it, which are those that do not contain it.
    """
    if "$ref" in source:
        name = source["$ref"].rsplit("/", 1)[-1]
        if name not in definitions:
            raise UnsupportedSchemaError(f"{path}: {name} contains itself")
        beside = {key: value for key, value in source.items() if key != "$ref"}
        below = {key: value for key, value in definitions.items() if key != name}
        return _resolved({**definitions[name], **beside}, below, path)
    if "anyOf" not in source or "x-kubernetes-int-or-string" in source:
        return source, definitions
    choices = [choice for choice in source["anyOf"] if choice.get("type") != "null"]
    if len(choices) != 1:
        raise UnsupportedSchemaError(f"{path}: a union of several types")
    beside = {key: value for key, value in source.items() if key != "anyOf"}
    return _resolved({**choices[0], **beside}, definitions, path)


def _make_bounds_inclusive_or_flagged(result: Schema) -> None:
    """Write JSON Schema's numeric exclusive bounds as OpenAPI 3.0 does: a bound and a flag."""
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if flag in result:
            result[bound] = result[flag]
            result[flag] = True
