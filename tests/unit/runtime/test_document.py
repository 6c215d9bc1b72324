"""Loading of the document."""

from __future__ import annotations

import json

import pytest

from agent_runtime.document import StartRefused, load_document

GOOD = {
    "version": 1,
    "agent": "support",
    "revision": "support-5c9f0a1b2d",
    "instructions": "Be kind.",
    "maxIterations": 10,
    "timeoutSeconds": 300,
    "endpoints": [
        {
            "model": "gpt-x",
            "baseUrl": "https://models.example/v1",
            "maxOutputTokens": 100,
            "firstTokenSeconds": 20,
            "idleSeconds": 15,
            "totalSeconds": 60,
        }
    ],
    "retry": {"maxAttempts": 3, "baseDelaySeconds": 1, "maxDelaySeconds": 30},
}


def changed(path, value):
    document = json.loads(json.dumps(GOOD))
    *parents, last = path
    place = document
    for part in parents:
        place = place[part]
    place[last] = value
    return json.dumps(document)


def test_document_is_loaded(tmp_path):
    (tmp_path / "document.json").write_text(json.dumps(GOOD))
    assert load_document(tmp_path / "document.json", (0,)).endpoints[0].model == "gpt-x"


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "content"),
        ("{", "content"),
        ("[]", "content"),
        ('{"version": 1}', "agent"),
        (changed(["endpoints"], []), "endpoints"),
        (changed(["endpoints", 0, "baseUrl"], "ftp://models"), "endpoints.0.baseUrl"),
        (changed(["endpoints", 0, "model"], 7), "endpoints.0.model"),
        (changed(["endpoints", 0, "idleSeconds"], 0), "endpoints.0.idleSeconds"),
        (changed(["endpoints", 0, "apiKey"], "sk-oops"), "endpoints.0.apiKey"),
        (changed(["retry", "maxAttempts"], 0), "retry.maxAttempts"),
        (changed(["timeoutSeconds"], -1), "timeoutSeconds"),
        (changed(["version"], 2), "version"),
        (changed(["maxIterations"], 0), "maxIterations"),
        (changed(["retry", "baseDelaySeconds"], 0), "retry.baseDelaySeconds"),
        (changed(["retry", "maxDelaySeconds"], -1), "retry.maxDelaySeconds"),
        (changed(["endpoints", 0, "maxOutputTokens"], 0), "endpoints.0.maxOutputTokens"),
        (changed(["endpoints", 0, "firstTokenSeconds"], 0), "endpoints.0.firstTokenSeconds"),
        (changed(["endpoints", 0, "totalSeconds"], 0), "endpoints.0.totalSeconds"),
        (changed(["endpoints", 0, "price"], {"inputMicro": "x", "outputMicro": 1}), "endpoints.0.price.inputMicro"),
        (changed(["guards"], {"redact": ["everything"]}), "guards.redact.0"),
        (changed(["cache"], {"ttlSeconds": 1}), "cache.scope"),
        (changed(["toolPolicy"], {"rules": [{"tools": ["a"], "action": "Perhaps"}]}), "toolPolicy.rules.0.action"),
        ("x" * (1024 * 1024 + 1), "larger"),
    ],
)
def test_bad_document_is_refused_on_one_line_that_names_the_field(tmp_path, content, named):
    (tmp_path / "document.json").write_text(content)
    with pytest.raises(StartRefused) as refused:
        load_document(tmp_path / "document.json")
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "sk-oops" not in str(refused.value)


def test_missing_document_is_named(tmp_path):
    with pytest.raises(StartRefused, match="No such file"):
        load_document(tmp_path / "document.json")


def test_key_for_an_endpoint_that_does_not_exist_is_refused(tmp_path):
    (tmp_path / "document.json").write_text(json.dumps(GOOD))
    with pytest.raises(StartRefused, match="GREYLAG_CREDENTIALS names endpoint 1"):
        load_document(tmp_path / "document.json", (0, 1))
