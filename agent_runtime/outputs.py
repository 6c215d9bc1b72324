"""The format that a caller asks an answer to have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import orjson

from agent_runtime.core.schema_steps import is_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_SCHEMA_BYTES = 64 * 1024
MAX_PATTERNS = 100
DESCRIBED_STEPS = 2000
"""Up to how many steps of a check its failure is described: that takes far longer than to find it."""

_MAX_REASON = 300
_NAMES_OF_PLACES = ("$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$dynamicRef", "$recursiveRef")
"""Keywords by which a reference leads elsewhere than its pointer says; how long a check takes could not be told."""


class FormatRefused(Exception):
    """A requested format that cannot be checked; the message says what is allowed."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """A format: `wire` is what the model is told, `validator` checks the answer by the `schema`."""

    wire: dict[str, Any]
    validator: jsonschema_rs.Validator | None
    schema: dict[str, Any] = field(default_factory=dict)

    def wrong(self, text: str) -> str:
        """Why an answer is not of this format, in words for the model, which may quote it; empty if it is."""
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return f"it is no JSON ({error})"[:_MAX_REASON]
        return "" if self.validator is None else self._mismatch(self.validator, value)[:_MAX_REASON]

    def _mismatch(self, validator: jsonschema_rs.Validator, value: object) -> str:
        if not is_checkable(self.schema, value):
            return "checking it by the schema would take too long"
        try:
            if validator.is_valid(value):
                return ""
            if not is_checkable(self.schema, value, DESCRIBED_STEPS):
                return "it does not fit the schema"
            first = next(validator.iter_errors(value), None)
        except ValueError as unreadable:
            # A pattern of the schema that takes too long for this answer.
            return str(unreadable)
        return "it does not fit the schema" if first is None else str(first.message)


def output_format(requested: Mapping[str, Any] | None) -> OutputFormat | None:
    """The format that `response_format` of the OpenAI protocol asks for; None for plain text.

    Raises
    ------
    FormatRefused
        If it is none of text, json_object and json_schema, or its schema is no JSON schema.
    """
    match dict(requested or {"type": "text"}):
        case {"type": "text"}:
            return None
        case {"type": "json_object"} as wire:
            return OutputFormat(wire, None)
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}} as wire:
            return OutputFormat(wire, _validator(schema), schema)
        case _:
            raise FormatRefused("type must be text, json_object, or json_schema with json_schema.schema")


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    if len(orjson.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise FormatRefused(f"the schema may have at most {MAX_SCHEMA_BYTES} bytes")
    nodes = list(_objects(schema))
    if not all(map(_leads_inside, nodes)):
        raise FormatRefused("$ref must begin with #/, or be #")
    if any(isinstance(node.get(name), str) for node in nodes[1:] for name in _NAMES_OF_PLACES):
        raise FormatRefused(f"the parts of a schema cannot have {', '.join(_NAMES_OF_PLACES)}")
    if sum(map(_patterns, nodes)) > MAX_PATTERNS:
        raise FormatRefused(f"the schema may have at most {MAX_PATTERNS} patterns")
    if not is_checkable(schema, None):
        raise FormatRefused("the schema cannot be checked: its references lead on and on")
    try:
        # A schema comes from a caller: it fetches nothing, also not by `$schema`, and no pattern of it takes long.
        return jsonschema_rs.validator_for(
            schema,
            offline=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000, size_limit=1_000_000),
        )
    except (jsonschema_rs.ValidationError, ValueError) as error:
        raise FormatRefused(str(error).splitlines()[0][:_MAX_REASON]) from None


def _objects(node: object) -> Iterator[dict[str, Any]]:
    """All objects of a schema, itself first."""
    if isinstance(node, dict):
        yield node
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(part)


def _leads_inside(node: dict[str, Any]) -> bool:
    reference = node.get("$ref", "#")
    return not isinstance(reference, str) or reference == "#" or reference.startswith("#/")


def _patterns(node: dict[str, Any]) -> int:
    by_pattern = node.get("patternProperties")
    return isinstance(node.get("pattern"), str) + (len(by_pattern) if isinstance(by_pattern, dict) else 0)
