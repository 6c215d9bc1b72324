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


A_PATTERN = 100
COUNTED = {
    "a part without anything": ({}, 1, 1),
    "a part that is true": (True, 1, 1),
    **{f"all of {name}": ({name: [{}, {"not": {}}]}, 1, 4) for name in ("allOf", "anyOf", "oneOf")},
    **{f"the part of {name}": ({name: {}}, 1, 2) for name in ("not", "if", "then", "else")},
    **{f"the parts of {name}": ({name: {"a": {}, "b": {}}}, 1, 3) for name in ("dependentSchemas", "dependencies")},
    "lists that are none": ({"allOf": {}, "dependencies": [], "properties": 1, "$ref": 1}, {"a": 1}, 1),
    "what a reference means": ({"$ref": "#/a", "a": {"not": {}}}, 1, 3),
    "a reference into a list": ({"$ref": "#/a/1", "a": [{}, {"not": {"not": {}}}]}, 1, 4),
    "a reference behind a list": ({"$ref": "#/a/1", "a": [{"not": {}}]}, 1, 2),
    "a reference to no place of a list": ({"$ref": "#/a/x", "a": [{"not": {}}]}, 1, 2),
    "a reference to a number of a member": ({"$ref": "#/a/0", "a": {"0": {"not": {}}}}, 1, 3),
    "a reference to nothing": ({"$ref": "#/a/b"}, 1, 2),
    "a reference with both escapes": ({"$ref": "#/~01~1", "~1/": {"not": {}}}, 1, 3),
    "a reference with half an escape": ({"$ref": "#/%4", "%4": {"not": {}}}, 1, 3),
    "a pattern of a text": ({"pattern": "a"}, "a", 1 + A_PATTERN),
    "a pattern of a number": ({"pattern": "a"}, 1, 1),
    "members that are there": ({"properties": {"a": {}, "b": {}, "c": {}}}, {"a": 1, "b": 1}, 3),
    "members by patterns": ({"patternProperties": {"a": {}}}, {"a": 1, "b": 1}, 1 + 2 * A_PATTERN + 2),
    "other members": ({"properties": {"a": {}}, "additionalProperties": {}}, {"a": 1, "b": 1, "c": 1}, 4),
    "other members of no part": ({"additionalProperties": True}, {"a": 1}, 1),
    "members not evaluated": ({"not": {}, "unevaluatedProperties": {}}, {"a": 1}, 4),
    "names": ({"propertyNames": {}}, {"a": 1, "b": 1}, 3),
    "names of no part": ({"propertyNames": True}, {"a": 1}, 1),
    "elements": ({"items": {}}, [1, 2, 3], 4),
    "elements by place of the older kind": ({"items": [{}, {}]}, [1], 2),
    "elements by place": ({"prefixItems": [{}]}, [1, 2], 2),
    "contained": ({"contains": {}}, [1, 2], 3),
    "elements beyond": ({"additionalItems": {}}, [1, 2], 3),
    "elements not evaluated": ({"not": {}, "unevaluatedItems": {}}, [1, 2], 5),
    "elements of a text": ({"items": {}, "properties": {"a": {}}}, "ab", 1),
}


@pytest.mark.parametrize("case", COUNTED)
def test_steps_are_counted_as_a_validator_takes_them(case):
    schema, value, steps = COUNTED[case]
    assert is_checkable(schema, value, steps)
    assert is_checkable(schema, value, steps - 1) is False


@pytest.mark.parametrize("keyword", ["not", "items"])
@pytest.mark.parametrize(("levels", "checkable"), [(250, True), (350, False)])
def test_parts_in_each_other_are_bounded_as_the_stack_is(keyword, levels, checkable):
    schema: dict[str, object] = {}
    value: list[object] = []
    for _ in range(levels):
        schema, value = {keyword: schema}, [value]
    assert is_checkable(schema, value) == checkable
