"""JSON schemas out of an OpenAPI description: references put in place, bounded, in the words of JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_NODES = 2_000
MAX_DEPTH = 24
_COPIED = frozenset(
    (
        "type", "format", "title", "description", "enum", "const", "default", "minimum", "maximum", "multipleOf",
        "minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
        "required",
    )
)  # fmt: skip
_SCHEMAS = ("items", "not", "additionalProperties")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")


class DescriptionInvalid(ValueError):
    """A description, or a part of it, cannot be used; the message says why."""


class References:
    """Resolves references within one description; none is ever fetched."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def resolve(self, node: object) -> object:
        """What a node stands for: itself, or what its chain of references leads to."""
        for _ in range(MAX_DEPTH):
            if not isinstance(node, dict) or not isinstance(node.get("$ref"), str):
                return node
            node = self._find(node["$ref"])
        raise DescriptionInvalid("a reference leads in a circle")

    def _find(self, reference: str) -> object:
        if not reference.startswith("#/"):
            raise DescriptionInvalid(f"reference {reference[:100]!r} leads out of the description")
        node: object = self._document
        for part in reference[2:].split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and key in node:
                node = node[key]
            elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                raise DescriptionInvalid(f"reference {reference[:100]!r} leads nowhere")
        return node


class SchemaReader:
    """Reads the schemas of one operation; all of them share one bound."""

    def __init__(self, references: References) -> None:
        self._references = references
        self._nodes = 0

    def read(self, schema: object, open_references: frozenset[str] = frozenset(), depth: int = 0) -> dict[str, Any]:
        """A self-contained schema; where one contains itself, the inner one allows anything.

        Raises
        ------
        DescriptionInvalid
            If it is too large, or a reference leads nowhere.
        """
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise DescriptionInvalid(f"its schema has more than {MAX_NODES} parts or {MAX_DEPTH} levels")
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in open_references:
                return {}
            open_references |= {reference}
            schema = {**mapping(self._references.resolve(schema)), **{k: v for k, v in schema.items() if k != "$ref"}}
        result = {key: value for key, value in schema.items() if key in _COPIED}
        self._read_parts(schema, result, open_references, depth + 1)
        _modernise(schema, result)
        return result

    def _read_parts(self, schema: dict[str, Any], result: dict[str, Any], known: frozenset[str], depth: int) -> None:
        for key in _SCHEMAS:
            if isinstance(schema.get(key), dict):
                result[key] = self.read(schema[key], known, depth)
            elif isinstance(schema.get(key), bool):
                result[key] = schema[key]
        for key in _LISTS:
            if isinstance(schema.get(key), list):
                result[key] = [self.read(item, known, depth) for item in schema[key]]
        properties = schema.get("properties")
        if isinstance(properties, dict):
            writable = {
                str(name): part
                for name, part in properties.items()
                if not (isinstance(part, dict) and part.get("readOnly"))
            }
            result["properties"] = {name: self.read(part, known, depth) for name, part in writable.items()}
            if isinstance(result.get("required"), list):
                result["required"] = [name for name in result["required"] if name in writable]


def mapping(node: object) -> dict[str, Any]:
    """The node if it is an object, else an empty one."""
    return node if isinstance(node, dict) else {}


def _modernise(schema: dict[str, Any], result: dict[str, Any]) -> None:
    """Turn what OpenAPI 3.0 says in its own way into JSON Schema."""
    if schema.get("nullable") is True and isinstance(result.get("type"), str):
        result["type"] = [result["type"], "null"]
        if isinstance(result.get("enum"), list) and None not in result["enum"]:
            result["enum"] = [*result["enum"], None]
    for bound, flag in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        value = schema.get(flag)
        if value is True and bound in result:
            result[flag] = result.pop(bound)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            result[flag] = value
    if not isinstance(result.get("required", []), list):
        del result["required"]
