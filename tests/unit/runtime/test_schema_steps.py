"""The bound on what a check by a JSON schema may take."""

from __future__ import annotations

import time

import jsonschema_rs
import pytest

from agent_runtime.core.schema_steps import MAX_STEPS, is_checkable

NODE = {"$ref": "#/$defs/node"}
TREE = {
    **NODE,
    "$defs": {"node": {"type": "object", "properties": {"name": {"type": "string"}, "left": NODE, "right": NODE}}},
}
DEFINED = {"a": {"properties": {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 2}}}}
MIXED = {"$ref": "#/$defs/a", "$defs": DEFINED}
ANY_A = {"$ref": "#/$defs/a"}


def tree(depth):
    return {"name": "x"} if depth == 0 else {"name": "x", "left": tree(depth - 1), "right": tree(depth - 1)}


def chain(depth, name="a", last=None):
    value = last
    for _ in range(depth):
        value = {name: value}
    return value


def doubling(keyword, levels, bottom=None):
    def both(n):
        part = {"$ref": f"#/$defs/a{n}"}
        return {keyword: [part, part]} if keyword.endswith("Of") else {keyword: part, "allOf": [part]}

    parts = {f"a{n}": both(n + 1) for n in range(levels)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{levels}": bottom or {"type": "object"}}}


BENIGN = {
    "flat object": ({"properties": {f"p{n}": {"type": "integer"} for n in range(50)}}, {f"p{n}": n for n in range(50)}),
    "long list": ({"items": {"type": "object", "properties": {"a": {}, "b": {}}}}, [{"a": 1, "b": 2}] * 5000),
    "tree that refers to itself": (TREE, tree(10)),
    "nested choice": (
        {"anyOf": [{"type": "null"}, {"items": {"oneOf": [{"type": "string"}, {"const": 1}]}}]},
        [1, "a"],
    ),
    "a few patterns": ({"items": {"pattern": "^a"}}, ["a"] * 100),
    "definitions of the older kind": ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"type": "integer"}}}, 1),
    "true and false": ({"properties": {"a": True}, "additionalProperties": False}, {"a": 1}),
}


@pytest.mark.parametrize("case", BENIGN)
def test_usual_schema_is_checkable(case):
    assert is_checkable(*BENIGN[case])


DEARLY = {
    **{keyword: (doubling(keyword, 60), {}) for keyword in ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")},
    "dependentSchemas": (
        doubling("allOf", 60, {"dependentSchemas": {"a": doubling("allOf", 60)}}),
        {"a": 1},
    ),
    "reference with escapes": (
        {"$ref": "#/$defs/%C3%BC%5B~1", "$defs": {"ü[/": {"allOf": [{"$ref": "#/$defs/ü[~1"}] * 2}}},
        {},
    ),
    "reference to itself": ({"allOf": [{"$ref": "#"}, {"$ref": "#"}]}, {}),
    "reference that only goes in a circle": ({"$ref": "#"}, {}),
    "choice that goes down": (MIXED, chain(64)),
    "many patterns": ({"items": {"allOf": [{"pattern": "(a|aa)+$"}] * 1000}}, ["a" * 40]),
    "names by patterns": ({"patternProperties": {f"a{n}": {} for n in range(100)}}, {f"k{n}": 1 for n in range(100)}),
    "elements": ({"items": ANY_A, "$defs": DEFINED}, [chain(64)]),
    "first elements": ({"prefixItems": [ANY_A], "$defs": DEFINED}, [chain(64)]),
    "contained": ({"contains": ANY_A, "$defs": DEFINED}, [chain(64)]),
    "other members": ({"additionalProperties": ANY_A, "$defs": DEFINED}, {"x": chain(64)}),
    "unevaluated": (
        {
            "$ref": "#/a",
            "a": {"unevaluatedProperties": False, "allOf": [{"$ref": "#/b"}]},
            "b": {"allOf": [{"$ref": "#/a"}]},
        },
        {},
    ),
}


@pytest.mark.parametrize("case", DEARLY)
def test_schema_that_takes_for_ever_is_found_out_at_once(case):
    begun = time.monotonic()
    assert not is_checkable(*DEARLY[case])
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("levels", range(12, 18))
@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf", "not"])
def test_what_is_checkable_is_checked_in_a_moment(keyword, levels):
    schema = doubling(keyword, levels)
    if is_checkable(schema, {}):
        begun = time.monotonic()
        jsonschema_rs.validator_for(schema).is_valid({})
        assert time.monotonic() - begun < 5
    else:
        assert 2**levels > MAX_STEPS / 8
