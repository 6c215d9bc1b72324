"""From the JSON schema of a model to what an API server accepts."""

from enum import StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from agent_api.crd.structural import UnsupportedSchemaError, documented_schema, structural_schema


class Colour(StrEnum):
    RED = "Red"
    BLUE = "Blue"


class Item(BaseModel):
    name: str
    size: int = 3


def _schema_of(annotation, default=...):
    model = type("Thing", (BaseModel,), {"__annotations__": {"field": annotation}, "field": default})
    return structural_schema(model)["properties"]["field"]


def test_optional_field_is_its_type_without_null_and_without_default():
    assert _schema_of(str | None, None) == {"type": "string"}


def test_enum_is_inlined_and_its_default_kept():
    assert _schema_of(Colour, Field(default=Colour.BLUE, description="Which.")) == {
        "description": "Which.",
        "type": "string",
        "enum": ["Red", "Blue"],
        "default": "Blue",
    }


def test_literal_of_one_value_is_an_enum_of_one():
    assert _schema_of(Literal["v1"])["enum"] == ["v1"]


def test_exclusive_bound_is_a_bound_and_a_flag():
    assert _schema_of(Annotated[float, Field(gt=0)]) == {"type": "number", "exclusiveMinimum": True, "minimum": 0}


def test_default_of_an_object_is_dropped_so_that_absent_stays_absent():
    assert "default" not in _schema_of(Item, Item(name="a"))


def test_default_below_a_list_is_dropped_and_the_list_is_atomic():
    schema = _schema_of(list[Item], [])
    assert schema["x-kubernetes-list-type"] == "atomic"
    assert schema["items"]["properties"]["size"] == {"type": "integer"}
    assert "default" not in schema


def test_default_below_a_list_is_in_what_the_reader_sees():
    class Basket(BaseModel):
        items: list[Item]

    assert documented_schema(Basket)["properties"]["items"]["items"]["properties"]["size"]["default"] == 3


def test_default_inside_an_object_is_kept():
    assert _schema_of(Item)["properties"]["size"]["default"] == 3


def test_map_keeps_the_schema_of_its_values():
    assert _schema_of(Annotated[dict[str, str], Field(max_length=4)]) == {
        "type": "object",
        "maxProperties": 4,
        "additionalProperties": {"type": "string"},
    }


def test_rules_of_a_model_are_kept_where_it_is_used():
    class Ruled(BaseModel):
        model_config = {"json_schema_extra": {"x-kubernetes-validations": [{"rule": "true", "message": "m"}]}}
        size: int

    assert _schema_of(Ruled | None, None)["x-kubernetes-validations"] == [{"rule": "true", "message": "m"}]


class Tree(BaseModel):
    children: "list[Tree]"


def test_model_that_contains_itself_is_an_error():
    with pytest.raises(UnsupportedSchemaError, match="contains itself"):
        structural_schema(Tree)


@pytest.mark.parametrize(
    "annotation",
    [
        str | list[str],
        tuple[int, str],
        set[str],
        object,
        Annotated[
            list[Item],
            Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["size"]}),
        ],
    ],
    ids=["union", "tuple", "set", "anything", "map-by-an-optional-key"],
)
def test_type_without_counterpart_is_an_error_that_names_the_path(annotation):
    with pytest.raises(UnsupportedSchemaError, match=r"^Thing\.field"):
        _schema_of(annotation)
