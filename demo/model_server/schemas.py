"""Values that a JSON schema accepts: what the simulated model puts into arguments and structured answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_MAX_DEPTH = 8
_SCALARS: dict[str, object] = {"string": "example", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: object) -> object:
    """A value for a schema: what it prescribes or suggests, else something of its type."""
    return _Maker(schema).make(schema, _MAX_DEPTH)


@dataclass(frozen=True, slots=True)
class _Maker:
    root: object

    def make(self, schema: object, depth: int) -> object:
        match schema:
            case {"const": value} | {"default": value} | {"example": value}:
                return value
            case {"enum": [value, *_]} | {"examples": [value, *_]}:
                return value
            case {"$ref": str(reference)} if depth:
                return self.make(self._target(reference), depth - 1)
            case {"anyOf": [choice, *_]} | {"oneOf": [choice, *_]} | {"allOf": [choice, *_]} if depth:
                return self.make(choice, depth - 1)
            case {"type": [kind, *_], **fields}:
                return self._of_type(str(kind), fields, depth)
            case {"type": str(kind), **fields}:
                return self._of_type(kind, fields, depth)
            case {"properties": {**properties}, **fields}:
                return self._of_type("object", {**fields, "properties": properties}, depth)
            case _:
                return "example"

    def _of_type(self, kind: str, schema: Mapping[object, object], depth: int) -> object:
        match kind, schema:
            case "object", {"required": [*names], "properties": {**properties}} if depth:
                return {name: self.make(properties.get(name), depth - 1) for name in names}
            case "object", _:
                return {}
            case "array", {"items": items} if depth:
                least = schema.get("minItems")
                return [self.make(items, depth - 1)] * (least if isinstance(least, int) else 1)
            case "array", _:
                return []
            case (("integer" | "number"), {"minimum": least}):
                return least
            case _:
                return _SCALARS.get(kind)

    def _target(self, reference: str) -> object:
        found = self.root
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found
