"""The files of a pod on this machine: what is in them, who may read them, and how a missing one is told."""

from __future__ import annotations

import json
import os
import stat

import pytest
import yaml

from agent_api.live_document import LiveDocument
from agent_api.runtime_document import RuntimeDocument
from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.core.revision import revision_name
from agentctl.errors import ManifestError
from agentctl.local.manifest import read_bundle
from agentctl.local.named_texts import ADD_IT
from agentctl.local.pod_folder import write_pod_folder

KEY = "sk-in-the-file"
SPARE = "sk-of-the-environment"
MODEL = {"name": "m", "baseURL": "http://127.0.0.1:9/v1"}
REFERENCE = {"name": "openai", "key": "api-key"}
OPEN_API = json.dumps({"openapi": "3.1.0", "servers": [{"url": "http://a"}], "paths": {"/x": {"get": {}}}})


def spec(**changes):
    return {"agent": {"instructions": "Be kind."}, "model": MODEL, **changes}


def secret(name="openai", **entries):
    return {"kind": "Secret", "metadata": {"name": name}, "stringData": entries}


def texts(name, **entries):
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": entries}


@pytest.fixture
def write(tmp_path):
    def make(changes, *documents, environment=None):
        agent = {"apiVersion": "greylag.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": "support"}}
        path, root = tmp_path / "agent.yaml", tmp_path / "pod"
        path.write_text(yaml.safe_dump_all([{**agent, "spec": spec(**changes)}, *documents]), encoding="utf-8")
        root.mkdir(mode=0o700)
        return write_pod_folder(read_bundle(path), root, environment or {})

    return make


def header_of(name="authorization", key="token"):
    return {"name": name, "secretKeyRef": {"name": "kb", "key": key}}


FULL = {
    "agent": {"instructionsFrom": {"configMapKeyRef": {"name": "texts", "key": "prompt"}}},
    "model": {**MODEL, "apiKeySecretRef": REFERENCE},
    "fallback": [MODEL, {**MODEL, "apiKeySecretRef": REFERENCE}],
    "tools": [
        {"name": "kb", "mcp": {"url": "http://kb/mcp", "headersFrom": [header_of("x-a", "a"), header_of("x-b", "b")]}},
        {"name": "shop", "http": {"openAPI": {"configMapKeyRef": {"name": "texts", "key": "api"}}}},
    ],
    "access": {"apiKeysSecretRef": {"name": "people"}},
    "rateLimits": {"requestsPerMinute": 7},
}
HELD = (
    texts("texts", prompt="Be brief.", api=OPEN_API),
    secret(**{"api-key": KEY}),
    secret("kb", a="first", b="second"),
    secret("people", ann="key-of-ann", bob="key-of-bob"),
)


def test_the_folder_holds_what_a_pod_would_find(write):
    folder = write(FULL, *HELD)
    document = RuntimeDocument.model_validate_json(folder.document.read_text())
    assert (document.agent, document.namespace, document.instructions) == ("support", "default", "Be brief.")
    assert document.revision == folder.revision
    assert LiveDocument.model_validate_json(folder.live.read_text()).rate_limits.requests_per_minute == 7
    assert folder.positions == (0, 2)
    assert {path.read_text() for path in folder.credentials.glob("*/*")} == {KEY}
    assert [path.read_text() for path in sorted(folder.headers.glob("*/*"))] == ["first", "second"]
    assert {path.name: path.read_text() for path in folder.api_keys.iterdir()} == {
        "ann": "key-of-ann",
        "bob": "key-of-bob",
    }
    assert folder.notes == ()


def test_only_this_user_can_read_it_whatever_the_umask(write):
    before = os.umask(0)
    try:
        root = write(FULL, *HELD).document.parent
    finally:
        os.umask(before)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert len(modes) > 8


def test_the_revision_is_that_of_the_operator(write):
    expected = revision_name("support", AgentDeploymentSpec.model_validate(spec()), "Be kind.", {})
    assert write({}).revision == expected


def test_a_key_that_is_not_in_the_file_comes_from_the_environment_and_that_is_said(write):
    folder = write(
        {"model": {**MODEL, "apiKeySecretRef": REFERENCE}, "fallback": [{**MODEL, "apiKeySecretRef": REFERENCE}]},
        environment={"OPENAI_API_KEY": SPARE},
    )
    assert {path.read_text() for path in folder.credentials.glob("*/*")} == {SPARE}
    said = "Secret openai with key 'api-key' is not in the file; the key of OPENAI_API_KEY is sent to http://127.0.0.1:9/v1"
    assert folder.notes == (
        f"spec.model.apiKeySecretRef: {said} instead",
        f"spec.fallback[0].apiKeySecretRef: {said} instead",
    )


def test_the_key_of_the_file_wins_over_the_environment(write):
    folder = write(
        {"model": {**MODEL, "apiKeySecretRef": REFERENCE}},
        secret(**{"api-key": KEY}),
        environment={"OPENAI_API_KEY": SPARE},
    )
    assert [path.read_text() for path in folder.credentials.glob("*/*")] == [KEY]
    assert folder.notes == ()


def test_the_environment_is_not_used_for_a_model_that_asks_for_no_key(write):
    folder = write({}, environment={"OPENAI_API_KEY": SPARE})
    assert folder.positions == ()
    assert not folder.credentials.exists()


@pytest.mark.parametrize(
    ("changes", "documents", "said"),
    [
        (
            {"model": {**MODEL, "apiKeySecretRef": REFERENCE}},
            (),
            f"spec.model.apiKeySecretRef: Secret openai with key 'api-key' is not in the file; {ADD_IT}, or set OPENAI",
        ),
        (
            {"fallback": [{**MODEL, "apiKeySecretRef": REFERENCE}]},
            (secret(key=KEY),),
            f"spec.fallback[0].apiKeySecretRef: Secret openai of the file has no key 'api-key', only key; {ADD_IT}",
        ),
        (
            {"agent": FULL["agent"]},
            (),
            "spec.agent.instructionsFrom.configMapKeyRef: ConfigMap texts with key 'prompt' is not in the file; add",
        ),
        (
            {"tools": FULL["tools"][1:]},
            (),
            "spec.tools[shop].http.openAPI.configMapKeyRef: ConfigMap texts with key 'api' is not in the file; add",
        ),
        (
            {"tools": [{"name": "kb", "mcp": {"url": "http://kb", "headersFrom": [header_of()]}}]},
            (),
            "spec.tools[kb].headersFrom[authorization].secretKeyRef: Secret kb with key 'token' is not in",
        ),
        (
            {"access": FULL["access"]},
            (),
            "spec.access.apiKeysSecretRef: Secret people is not in the file; it needs one entry a user,",
        ),
        (
            {"access": FULL["access"]},
            (secret("people"),),
            (
                "spec.access.apiKeysSecretRef: Secret people of the file has no entries; it needs one entry a user,"
                " with the user's name as key and the API key as value"
            ),
        ),
        (
            {"model": {**MODEL, "apiKeySecretRef": REFERENCE}},
            (secret(),),
            "spec.model.apiKeySecretRef: Secret openai of the file has no entries; it needs key 'api-key'",
        ),
        (
            {"guards": {"input": {"blockedPatterns": ["("]}}},
            (),
            "spec.guards.input.blockedPatterns[0]: '(' is no RE2 expression",
        ),
        (
            {"budgets": {"timeZone": "Mars/Olympus"}},
            (),
            "spec.budgets.timeZone: 'Mars/Olympus' is no time zone; write an IANA name",
        ),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_what_is_missing_or_cannot_be_run_names_the_field_and_the_way_out(write, changes, documents, said):
    with pytest.raises(ManifestError) as refused:
        write(changes, *documents)
    assert str(refused.value).startswith(said)
    assert KEY not in str(refused.value)


def test_everything_that_is_missing_is_told_at_once(write):
    with pytest.raises(ManifestError) as refused:
        write(FULL, secret("kb", a=KEY))
    assert str(refused.value) == (
        "spec.agent.instructionsFrom.configMapKeyRef: ConfigMap texts with key 'prompt' is not in the file;"
        " spec.model.apiKeySecretRef: Secret openai with key 'api-key' is not in the file;"
        " spec.fallback[1].apiKeySecretRef: Secret openai with key 'api-key' is not in the file;"
        " spec.tools[shop].http.openAPI.configMapKeyRef: ConfigMap texts with key 'api' is not in the file;"
        " spec.tools[kb].headersFrom[x-b].secretKeyRef: Secret kb of the file has no key 'b', only a;"
        " spec.access.apiKeysSecretRef: Secret people is not in the file; it needs one entry a user, with the user's"
        f" name as key and the API key as value; {ADD_IT}, or set OPENAI_API_KEY for a model's key"
    )


def test_a_key_in_the_environment_stands_in_for_keys_of_models_alone(write):
    with pytest.raises(ManifestError) as refused:
        write(FULL, *HELD[:1], *HELD[2:3], environment={"OPENAI_API_KEY": SPARE})
    assert str(refused.value).startswith("spec.access.apiKeysSecretRef: Secret people is not in the file;")
    assert "OPENAI_API_KEY" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"store": {"urlSecretRef": {"name": "redis", "key": "url"}}}, "spec.store: not used; state is kept in memory"),
        ({"suspend": True}, "spec.suspend: not used"),
        ({"runtime": {"env": [{"name": "A", "value": "b"}]}}, "spec.runtime.env: not used"),
    ],
)
def test_what_has_no_effect_here_is_said(write, changes, said):
    (note,) = write(changes).notes
    assert note.startswith(said)
