"""Bounds what checking a value by a JSON schema may take, before it is checked.

A few lines of schema whose parts refer to each other twice take a number of steps that doubles with each of them. Here
the steps are counted as a validator takes them that stops nowhere early, and the counting stops at a bound.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_STEPS = 50_000
PATTERN_STEPS = 100
"""What a regular expression counts as, which may go back and forth in its text."""

_MAX_DEPTH = 300
_HERE_LISTS = ("allOf", "anyOf", "oneOf")
_HERE = ("not", "if", "then", "else")
_BY_NAME = ("dependentSchemas", "dependencies")
_UNEVALUATED = ("unevaluatedProperties", "unevaluatedItems")
_ELEMENTS = ("items", "additionalItems", "contains", "unevaluatedItems")
_Visit = tuple[object, object]
_ESCAPED = re.compile("(?:%[0-9A-Fa-f]{2})+")


class _Exhausted(Exception):
    """The bound is reached."""


def is_checkable(schema: Mapping[str, Any], value: object, most: int = MAX_STEPS) -> bool:
    """Whether a value can be checked by a schema in so many steps.

    References of the schema are `#` or JSON pointers that begin with `#/`.
    """
    try:
        _Walk(schema, most).visit(schema, value, _MAX_DEPTH)
    except _Exhausted:
        return False
    return True


class _Walk:
    """Counts down."""

    def __init__(self, root: Mapping[str, Any], left: int) -> None:
        self._root = root
        self._left = left

    def visit(self, schema: object, value: object, depth: int) -> None:
        """Take the steps of checking a value by a part of the schema."""
        self._take(1)
        if depth == 0:
            raise _Exhausted
        if not isinstance(schema, dict):
            return
        # To know what was not evaluated, a validator goes through all of it once more.
        for _ in range(1 + any(name in schema for name in _UNEVALUATED)):
            for part, same in self._here(schema, value):
                self.visit(part, same, depth - 1)
        if isinstance(value, str) and "pattern" in schema:
            self._take(PATTERN_STEPS)
        for part, inner in self._below(schema, value):
            self.visit(part, inner, depth - 1)

    def _take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _Exhausted

    def _here(self, schema: dict[str, Any], value: object) -> Iterator[_Visit]:
        """Parts that speak of the same value."""
        for name in _HERE_LISTS:
            for part in _listed(schema.get(name)):
                yield part, value
        for name in _HERE:
            if name in schema:
                yield schema[name], value
        for name in _BY_NAME:
            for part in _members(schema.get(name)).values():
                yield part, value
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield self._resolved(reference), value

    def _below(self, schema: dict[str, Any], value: object) -> Iterator[_Visit]:
        """Parts that speak of what is in the value."""
        if isinstance(value, dict):
            yield from self._of_members(schema, value)
        elif isinstance(value, list):
            for name in ("prefixItems", "items"):
                yield from zip(_listed(schema.get(name)), value, strict=False)
            for name in _ELEMENTS:
                if isinstance(schema.get(name), dict):
                    yield from ((schema[name], element) for element in value)

    def _of_members(self, schema: dict[str, Any], value: dict[str, Any]) -> Iterator[_Visit]:
        declared = _members(schema.get("properties"))
        for name, part in declared.items():
            if name in value:
                yield part, value[name]
        for part in _members(schema.get("patternProperties")).values():
            self._take(PATTERN_STEPS * len(value))
            yield from ((part, member) for member in value.values())
        for name in ("additionalProperties", "unevaluatedProperties"):
            if isinstance(schema.get(name), dict):
                yield from ((schema[name], member) for key, member in value.items() if key not in declared)
        if isinstance(schema.get("propertyNames"), dict):
            yield from ((schema["propertyNames"], key) for key in value)

    def _resolved(self, reference: str) -> object:
        node: object = self._root
        for part in _ESCAPED.sub(_unescaped, reference).split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
                node = node[int(name)]
            else:
                node = _members(node).get(name)
        return node


def _unescaped(escaped: re.Match[str]) -> str:
    return bytes.fromhex(escaped[0].replace("%", "")).decode(errors="replace")


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _members(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
