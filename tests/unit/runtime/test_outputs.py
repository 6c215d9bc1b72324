"""The format that a caller asks an answer to have."""

from __future__ import annotations

import http.server
import threading

import pytest

from agent_runtime.outputs import MAX_PATTERNS, MAX_SCHEMA_BYTES, FormatRefused, output_format

PERSON = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def asked(schema):
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}


@pytest.mark.parametrize("requested", [None, {}, {"type": "text"}])
def test_plain_text_has_no_format(requested):
    assert output_format(requested or None) is None


def test_the_model_is_told_what_the_caller_said():
    assert output_format(asked(PERSON)).wire == asked(PERSON)
    assert output_format({"type": "json_object"}).wire == {"type": "json_object"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"name": "Ann"}', ""),
        ("Ann", "it is no JSON"),
        ('{"name": "Ann"', "it is no JSON"),
        ("{}", '"name" is a required property'),
        ('{"name": 7}', 'is not of type "string"'),
    ],
)
def test_answer_is_checked_by_the_schema(text, wrong):
    found = output_format(asked(PERSON)).wrong(text)
    assert wrong in found
    assert bool(found) == bool(wrong)


def test_reason_is_bounded():
    found = output_format(asked({"enum": ["x" * 5000]})).wrong('"' + "y" * 5000 + '"')
    assert 0 < len(found) <= 300


def test_any_json_is_an_object_of_json():
    form = output_format({"type": "json_object"})
    assert form.wrong("{}") == ""
    assert form.wrong("no") != ""


@pytest.mark.parametrize(
    ("requested", "told"),
    [
        ({"type": "xml"}, "type must be text"),
        ({"type": "json_schema"}, "json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": True}}, "json_schema.schema"),
        ({"type": "json_schema", "json_schema": []}, "json_schema.schema"),
        ({"json_schema": {"schema": {}}}, "type must be text"),
        (asked({"type": "nothing"}), "nothing"),
        (asked({"pattern": "("}), "("),
        (asked({"$ref": "#"}), "on and on"),
        (asked({"anyOf": [{"type": "null"}, {"$ref": "#"}]}), "on and on"),
        (asked({"description": "x" * MAX_SCHEMA_BYTES}), f"at most {MAX_SCHEMA_BYTES} bytes"),
        (asked({"$ref": "http://example.test/schema"}), "must begin with #"),
        (asked({"properties": {"a": {"$ref": "other.json"}}}), "must begin with #"),
        (asked({"anyOf": [{"$ref": "file:///etc/passwd"}]}), "must begin with #"),
        (asked({"$ref": "#/nowhere"}), "nowhere"),
        (asked({"$ref": "#anchor", "$anchor": "anchor"}), "must begin with #"),
        (asked({"properties": {"a": {"$id": "b", "$ref": "#/c"}}}), "$id"),
        (asked({"properties": {str(n): {"pattern": "a"} for n in range(MAX_PATTERNS + 1)}}), "patterns"),
    ],
)
def test_format_that_cannot_be_checked_is_refused(requested, told):
    with pytest.raises(FormatRefused) as refused:
        output_format(requested)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def listener():
    """A server that notes what is fetched, and its URL."""
    fetched = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            fetched.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield fetched, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_schema_makes_the_process_fetch_anything(listener):
    fetched, url = listener
    for schema in (
        {"$schema": f"{url}/meta"},
        {"$dynamicRef": f"{url}/dynamic"},
        {"$id": f"{url}/base/", "$ref": "#anchor"},
        {"properties": {"$ref": {"$ref": f"{url}/property"}}},
        {"definitions": {"a": {"$schema": f"{url}/inner", "$id": "x"}}, "$ref": "#/definitions/a"},
    ):
        try:
            form = output_format(asked(schema))
        except FormatRefused:
            continue
        form.wrong("{}")
    assert fetched == []


def test_pattern_that_would_take_for_ever_is_given_up():
    form = output_format(asked({"pattern": r"^(?=(a+)+\1b)"}))
    assert form.wrong('"' + "a" * 40 + '"') != ""


def test_check_that_would_take_for_ever_is_not_begun():
    parts = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)}
    form = output_format(asked({"properties": {"a": {"$ref": "#/$defs/a0"}}, "$defs": {**parts, "a60": {}}}))
    assert "too long" in form.wrong('{"a": 1}')
    assert form.wrong("{}") == ""


def test_failure_of_a_large_check_is_found_and_not_described():
    form = output_format(asked({"items": {"type": "integer"}}))
    assert form.wrong(str([1] * 5000)) == ""
    assert form.wrong(str([1] * 5000 + ["a"]).replace("'", '"')) == "it does not fit the schema"
