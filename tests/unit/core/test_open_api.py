"""Descriptions of APIs from ConfigMaps: what is no OpenAPI 3 is told, and none takes the operator down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_operator.core.open_api import MAX_DEPTH, open_api_fault

REPOSITORY = Path(__file__).parents[3]
WHOLE = {"openapi": "3.0.3", "servers": [{"url": "https://a.example"}], "paths": {"/a": {"post": {"operationId": "a"}}}}


def fault_of(description, *, needs_server=True):
    return open_api_fault(json.dumps(description), needs_server=needs_server)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(WHOLE),
        json.dumps(WHOLE, indent=2),
        "openapi: 3.1.0\nservers: [{url: 'http://a'}]\npaths:\n  /a:\n    get: {}\n",
        "openapi: 3.0\nservers: [{url: 'http://a'}]\npaths: {/a: {get: {responses: {200: {description: ok}}}}}\n",
        "{openapi: 3.0.0, servers: [{url: 'http://a'}], paths: {/a: {get: {}}}}",
        "openapi: 3.0.0\nservers: [{url: 'http://a'}]\nx: &r {a: 1}\npaths: {/a: {get: {x: *r, y: *r}}}\n",
    ],
)
def test_an_open_api_3_document_is_accepted_as_json_and_as_yaml(text):
    assert open_api_fault(text, needs_server=True) is None


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ([], "is no object"),
        ("openapi", "is no object"),
        ({}, "says openapi: ''"),
        ({"swagger": "2.0", "paths": {}}, "is Swagger 2; convert it to OpenAPI 3"),
        (WHOLE | {"openapi": "4.0"}, "says openapi: '4.0'"),
        (WHOLE | {"paths": {}}, "has no operation"),
        (WHOLE | {"paths": {"/a": {"parameters": []}, "/b": None, "/c": {"get": "x"}}}, "has no operation"),
        (WHOLE | {"paths": ["/a"]}, "has no operation"),
        (WHOLE | {"servers": []}, "set http.baseURL"),
        (WHOLE | {"servers": [{"url": "/v1"}]}, "set http.baseURL"),
        (WHOLE | {"servers": "http://a"}, "set http.baseURL"),
    ],
)
def test_what_is_missing_of_a_description_is_told(description, reason):
    assert reason in str(fault_of(description))


def test_the_server_may_be_left_to_the_spec():
    assert fault_of({key: WHOLE[key] for key in ("openapi", "paths")}, needs_server=False) is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "a: [",
        "a: 1\n---\nb: 2",
        "\x00",
        "!!python/object/apply:os.system [id]",
        "x: 2023-99-99",
        "!!timestamp x",
        "!!int x",
        "? {a: 1}\n: 1",
        "<<: [1]",
        "=",
        "*a",
    ],
)
def test_text_that_cannot_be_read_is_refused_on_one_line(text):
    fault = open_api_fault(text, needs_server=True)
    assert fault is not None
    assert "cannot be read as JSON or YAML: " in fault
    assert "\n" not in fault


BOMB = "openapi: 3.0.0\na0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
HOSTILE = {
    "lists": "[" * 200_000,
    "objects": '{"a":' * 200_000,
    "flow": "{a: " * 200_000,
    "blocks": "- " * 200_000,
    "keys": "? " * 200_000,
    "loop": "openapi: &a {b: *a}",
    "bomb": BOMB,
    "deep": "\n".join(" " * level + "a:" for level in range(MAX_DEPTH + 2)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_and_the_process_lives(name):
    """In a process of its own, as the way to fail is a crash of the interpreter."""
    script = (
        "import sys; from agent_operator.core.open_api import open_api_fault;"
        "print(open_api_fault(sys.stdin.read(), needs_server=True))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        input=HOSTILE[name],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'operator'}"},
    )
    assert ended.returncode == 0, ended.stderr[-500:]
    assert "cannot be read as JSON or YAML: " in ended.stdout


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40) | st.text(st.sampled_from("{}[]:,-?&*!|>'\"%@ \n\tab01.~<="), max_size=60))
def test_no_text_raises(text):
    assert isinstance(open_api_fault(text, needs_server=True), str)
