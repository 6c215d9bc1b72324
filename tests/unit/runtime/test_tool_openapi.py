from __future__ import annotations

import json

import pytest
import yaml

from agent_runtime.tools.headers import HeaderFile, HeaderMissing
from agent_runtime.tools.openapi_description import read_description
from agent_runtime.tools.openapi_request import request_of
from agent_runtime.tools.openapi_schema import DescriptionInvalid
from agent_runtime.tools.source import ToolFailed

PET = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer", "readOnly": True},
        "name": {"type": "string", "nullable": True, "x-note": "dropped", "example": "Rex"},
        "weight": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
        "parent": {"$ref": "#/components/schemas/Pet"},
    },
}


def description(paths, **rest):
    document = {"openapi": "3.0.3", "paths": paths, "components": {"schemas": {"Pet": PET}}, **rest}
    return json.dumps(document)


def read(text, origin="", complaints=None):
    return read_description(
        text, origin, lambda name, cause: (complaints if complaints is not None else []).append((name, cause))
    )


def operation(method="get", path="/x", **node):
    return read(description({path: {method: node}})).operations[0]


def query(name, schema=None, **facts):
    return {"name": name, "in": "query", "schema": schema or {"type": "string"}, **facts}


def test_a_body_is_flattened_and_its_references_are_put_in_place():
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}}}
    made = operation("post", "/pets", requestBody=body, summary="Make a pet")
    properties = made.tool.parameters["properties"]

    assert made.tool.name == "post_pets"
    assert made.tool.description == "Make a pet"
    assert set(properties) == {"name", "weight", "parent"}
    assert properties["name"] == {"type": ["string", "null"]}
    assert properties["weight"] == {"type": "number", "exclusiveMinimum": 0}
    assert properties["parent"] == {}
    assert made.tool.parameters["required"] == ["name"]
    assert made.tool.parameters["additionalProperties"] is False


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "properties": {"id": {"type": "string"}}},
        {"oneOf": [{"type": "object", "properties": {"a": {}}}]},
        {"type": "object", "properties": {"odd name": {}}},
    ],
)
def test_a_body_that_does_not_fit_beside_the_parameters_is_one_argument(schema):
    body = {"required": True, "content": {"application/json; charset=utf-8": {"schema": schema}}}
    made = operation("put", "/pets/{id}", parameters=[{"name": "id", "in": "path", "schema": {}}], requestBody=body)

    assert set(made.tool.parameters["properties"]) == {"id", "body"}
    assert made.tool.parameters["required"] == ["id", "body"]
    assert request_of(made, "http://api", {"id": "7", "body": [1]}).body == b"[1]"


@pytest.mark.parametrize(
    ("node", "cause"),
    [
        ({"parameters": [{"$ref": "http://evil/x"}]}, "leads out of the description"),
        ({"parameters": [{"$ref": "#/components/nothing"}]}, "leads nowhere"),
        ({"parameters": [query("a", {"$ref": "#/components/schemas/Loop"})]}, "in a circle"),
        ({"parameters": [{"name": "c", "in": "cookie", "required": True}]}, "no cookies are sent"),
        ({"requestBody": {"required": True, "content": {"image/png": {}}}}, "cannot be JSON"),
        ({"parameters": [query(f"p{i}", {"enum": ["x" * 900]}) for i in range(100)]}, "larger than"),
        ({"parameters": [query("a", {"allOf": [{} for _ in range(3000)]})]}, "more than"),
    ],
)
def test_an_operation_that_cannot_be_used_is_left_out_with_the_cause_and_the_rest_stays(node, cause):
    complaints = []
    loop = {"schemas": {"Loop": {"$ref": "#/components/schemas/Loop"}}}
    text = description({"/bad": {"post": node}, "/good": {"get": {}}}, components=loop)

    made = read(text, complaints=complaints)

    assert [op.tool.name for op in made.operations] == ["get_good"]
    assert complaints[0][0] == "post_bad"
    assert cause in complaints[0][1]


def test_a_schema_that_branches_into_itself_stays_small():
    node = {"type": "object", "properties": {f"p{i}": {"$ref": "#/components/schemas/Tree"} for i in range(9)}}
    for depth in range(12):
        node["properties"][f"q{depth}"] = {"$ref": f"#/components/schemas/T{depth}"}
    schemas = {"Tree": node} | {f"T{depth}": node for depth in range(12)}
    complaints = []
    text = description(
        {"/x": {"get": {"parameters": [query("a", {"$ref": "#/components/schemas/Tree"})]}}},
        components={"schemas": schemas},
    )

    read(text, complaints=complaints)

    assert complaints


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "a: b", "swagger: '2.0'", "openapi: 2.0", '{"openapi": "3.0.0"', "a: &a [*a]", "%"]
)
def test_what_is_no_description_is_refused(text):
    with pytest.raises(DescriptionInvalid):
        read(text)


def test_yaml_that_multiplies_by_aliases_is_refused():
    lines = ["openapi: 3.0.0", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

    with pytest.raises(DescriptionInvalid, match="more than"):
        read("\n".join(lines))


def test_yaml_reads_as_json_does():
    paths = {"/x": {"get": {"parameters": [query("a", {"type": "string", "default": "2024-01-01"})]}}}
    text = yaml.safe_dump(json.loads(description(paths))).replace("'2024-01-01'", "2024-01-01")

    assert read(text).operations[0].tool.parameters["properties"]["a"]["default"] == "2024-01-01"


@pytest.mark.parametrize(
    ("servers", "origin", "server"),
    [
        ([{"url": "https://api/v1"}], "", "https://api/v1"),
        ([{"url": "/v1"}], "https://host/spec/openapi.json", "https://host/v1"),
        ([{"url": "https://{env}.api", "variables": {"env": {"default": "prod"}}}], "", "https://prod.api"),
        ([], "https://host/openapi.json", "https://host/"),
        ([], "", ""),
    ],
)
def test_the_first_server_is_called(servers, origin, server):
    assert read(description({}, servers=servers), origin).server == server


@pytest.mark.parametrize(
    ("parameter", "value", "url"),
    [
        (query("q"), "a b&c=d/ä", "http://api/v1/x?q=a%20b%26c%3Dd%2F%C3%A4"),
        (query("q"), ["a", "b"], "http://api/v1/x?q=a&q=b"),
        (query("q", explode=False), ["a", "b"], "http://api/v1/x?q=a%2Cb"),
        (query("q", style="deepObject"), {"k": 1}, "http://api/v1/x?q%5Bk%5D=1"),
        (query("q"), True, "http://api/v1/x?q=true"),
        (query("q"), None, "http://api/v1/x"),
        (
            {"name": "q", "in": "query", "content": {"application/json": {}}},
            {"k": [1]},
            "http://api/v1/x?q=%7B%22k%22%3A%5B1%5D%7D",
        ),
    ],
)
def test_queries_are_written_in_the_style_of_the_description(parameter, value, url):
    made = operation(parameters=[parameter])

    assert request_of(made, "http://api/v1/", {"q": value}).url == url


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("a b", "http://api/p/a%20b/end"),
        ("a/b", "http://api/p/a%2Fb/end"),
        ("a?b#c", "http://api/p/a%3Fb%23c/end"),
        ("%2e%2e", "http://api/p/%252e%252e/end"),
        ("ä", "http://api/p/%C3%A4/end"),
        (7, "http://api/p/7/end"),
        ("..", None), (".", None), ("", None), ("a/../b", None), ("..\\x", None), (" .. ", None), (None, None),
    ],
)  # fmt: skip
def test_a_path_argument_stays_within_its_place(value, url):
    made = operation(path="/p/{id}/end", parameters=[{"name": "id", "in": "path"}])
    if url is None:
        with pytest.raises(ToolFailed):
            request_of(made, "http://api", {"id": value})
    else:
        assert request_of(made, "http://api", {"id": value}).url == url


def test_header_parameters_that_the_client_owns_are_not_told():
    names = ("Authorization", "Host", "Content-Type", "cookie", "X-Unit")
    made = operation(parameters=[{"name": name, "in": "header"} for name in names])

    assert set(made.tool.parameters["properties"]) == {"X-Unit"}
    assert request_of(made, "http://api", {"X-Unit": "k"}).headers == {"X-Unit": "k"}


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"a\x00b", "ä".encode(), b"x" * 20_000])
def test_a_header_that_is_no_line_of_ascii_is_missing_and_its_value_is_not_told(tmp_path, content):
    file = tmp_path / "value"
    file.write_bytes(content)

    with pytest.raises(HeaderMissing, match=r"^secret of header X-Key is not one line"):
        HeaderFile("X-Key", file).read()


def test_a_header_is_read_again_when_its_file_changes(tmp_path):
    file = tmp_path / "value"
    header = HeaderFile("Authorization", file)
    with pytest.raises(HeaderMissing, match="is missing"):
        header.read()
    file.write_text("Bearer abc\n")
    assert header.read() == "Bearer abc"
    file.write_text("Bearer longer")
    assert header.read() == "Bearer longer"
    assert set(header.seen) == {"Bearer abc", "abc", "Bearer longer", "longer"}
