"""Which changes make a revision, and the canonical form that its hash is made of."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from agent_api.change_kinds import CHANGE_KINDS, ChangeKind, behaviour_of, change_kind_of
from agent_api.reference import field_rows
from agent_api.v1alpha1.agent import AgentDeployment
from agent_api.v1alpha1.guards import DEFAULT_REDACTIONS

REPOSITORY = Path(__file__).parents[3]
FIRST_RELEASE = REPOSITORY / "tests/data/first_release.yaml"
GOLDEN = REPOSITORY / "tests/data/canonical_behaviour.json"
FULL = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))["base"]

PATHS = [row.path for row in field_rows("spec")]
LEAVES = [path for path in PATHS if not any(other.startswith((f"{path}.", f"{path}[]")) for other in PATHS)]


def _manifest(name: str):
    if name == "full":
        return copy.deepcopy(FULL)
    if name == "first-release":
        return yaml.safe_load(FIRST_RELEASE.read_text(encoding="utf-8"))
    return yaml.safe_load((REPOSITORY / "examples" / name / "agent.yaml").read_text(encoding="utf-8"))


def _behaviour(manifest):
    return behaviour_of(AgentDeployment.model_validate(manifest).spec)


def _changed(*path, to):
    manifest = _manifest("full")
    node = manifest["spec"]
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = to
    return manifest


def _kinds_covering(path: str):
    entries = [entry for entry in CHANGE_KINDS if path == entry or path.startswith((f"{entry}.", f"{entry}[]"))]
    longest = max(map(len, entries), default=0)
    return [CHANGE_KINDS[entry] for entry in entries if len(entry) == longest]


@pytest.mark.parametrize("path", LEAVES)
def test_leaf_of_the_spec_is_covered_by_exactly_one_longest_entry(path):
    assert _kinds_covering(path) == [change_kind_of(path)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("replicas", ChangeKind.LIVE),
        ("model.baseURL", ChangeKind.BEHAVIOUR),
        ("model.apiKeySecretRef.name", ChangeKind.ROLLING),
        ("fallback[].name", ChangeKind.BEHAVIOUR),
        ("fallback[].apiKeySecretRef.key", ChangeKind.ROLLING),
        ("runtime.env[].value", ChangeKind.BEHAVIOUR),
        ("runtime.pod.tolerations[].key", ChangeKind.ROLLING),
        ("rollout.canary.steps[].setWeight", ChangeKind.LIVE),
        ("agent.description", ChangeKind.LIVE),
        ("agent.conversations.ttl", ChangeKind.BEHAVIOUR),
        ("model.parameters.extra.seed", ChangeKind.BEHAVIOUR),
        ("model.price.inputPerMillion", ChangeKind.BEHAVIOUR),
        ("resilience.circuitBreaker.window", ChangeKind.BEHAVIOUR),
        ("budgets.daily.costUSD", ChangeKind.LIVE),
        ("tools[].mcp.url", ChangeKind.BEHAVIOUR),
        ("tools[].mcp.headersFrom[].name", ChangeKind.BEHAVIOUR),
        ("tools[].mcp.headersFrom[].secretKeyRef.name", ChangeKind.ROLLING),
        ("tools[].http.headersFrom[].secretKeyRef.key", ChangeKind.ROLLING),
        ("tools[].http.openAPI.configMapKeyRef.name", ChangeKind.BEHAVIOUR),
        ("toolPolicy.rules[].when", ChangeKind.BEHAVIOUR),
        ("guards.output.redact", ChangeKind.BEHAVIOUR),
        ("cache.scope", ChangeKind.BEHAVIOUR),
        ("rateLimits.maxConcurrent", ChangeKind.LIVE),
        ("access.jwt.jwks", ChangeKind.LIVE),
        ("access.apiKeysSecretRef.name", ChangeKind.ROLLING),
        ("store.urlSecretRef.key", ChangeKind.ROLLING),
    ],
)
def test_kind_is_that_of_the_longest_entry(path, kind):
    assert change_kind_of(path) is kind


@pytest.mark.parametrize("path", ["runtime", "budget.daily", "modelling", ""])
def test_path_that_no_entry_covers_has_no_kind(path):
    with pytest.raises(KeyError):
        change_kind_of(path)


@pytest.mark.parametrize(
    "name", ["01-minimal", "02-canary", "03-fallback", "04-tools-and-budgets", "first-release", "full"]
)
def test_canonical_form_is_byte_identical_to_the_recorded_one(name):
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    assert json.dumps(_behaviour(_manifest(name)), sort_keys=True, separators=(",", ":")) == recorded


@pytest.mark.parametrize(
    "manifest",
    [
        _changed("replicas", to=7),
        _changed("paused", to=True),
        _changed("suspend", to=True),
        _changed("rollout", to={}),
        _changed("model", "apiKeySecretRef", to={"name": "other", "key": "k"}),
        _changed("fallback", 0, "apiKeySecretRef", "name", to="other"),
        _changed("runtime", "pod", to={}),
        _changed("runtime", "resources", "limits", "cpu", to="2"),
        _changed("agent", "description", to="other"),
        _changed("budgets", to={}),
        _changed("rateLimits", to={}),
        _changed("access", to={}),
        _changed("store", to={"urlSecretRef": {"name": "other", "key": "url"}}),
        _changed("tools", 0, "mcp", "headersFrom", 0, "secretKeyRef", to={"name": "other", "key": "k"}),
        _changed("tools", 1, "http", "headersFrom", 1, "secretKeyRef", "key", to="other"),
    ],
)
def test_change_that_is_no_behaviour_leaves_the_canonical_form(manifest):
    assert _behaviour(manifest) == _behaviour(FULL)


@pytest.mark.parametrize(
    "manifest",
    [
        _changed("agent", "instructions", to="Be brief."),
        _changed("agent", "timeout", to="3m"),
        _changed("model", "name", to="other"),
        _changed("model", "parameters", "temperature", to=0),
        _changed("fallback", to=[]),
        _changed("resilience", "maxAttempts", to=1),
        _changed("runtime", "image", to="runtime:2"),
        _changed("runtime", "env", 0, "value", to="debug"),
        _changed("runtime", "resources", "limits", "memory", to="1Gi"),
        _changed("model", "parameters", "extra", "metadata", "team", to="b"),
        _changed("model", "price", "inputPerMillion", to="3"),
        _changed("tools", to=[]),
        _changed("tools", 0, "mcp", "headersFrom", 0, "name", to="X-Token"),
        _changed("toolPolicy", "rules", 0, "action", to="RequireApproval"),
        _changed("guards", "output", "redact", to=[]),
        _changed("cache", to=None),
    ],
)
def test_change_of_behaviour_changes_the_canonical_form(manifest):
    assert _behaviour(manifest) != _behaviour(FULL)


def test_writing_a_default_down_leaves_the_canonical_form():
    minimal = _manifest("01-minimal")
    explicit = copy.deepcopy(minimal)
    explicit["spec"]["agent"] |= {"maxIterations": 10, "timeout": "5m"}
    explicit["spec"]["model"] |= {"parameters": {"maxOutputTokens": 4096}, "timeouts": {"total": "60s"}}
    explicit["spec"] |= {
        "fallback": [],
        "resilience": {"maxAttempts": 3},
        "runtime": {"env": [], "resources": {"limits": {}}},
        "tools": [],
        "toolPolicy": {"default": "Deny", "rules": [], "timeout": "30s"},
        "guards": {
            "input": {"blockedPatterns": []},
            "output": {"redact": [redaction.value for redaction in DEFAULT_REDACTIONS]},
        },
        "cache": None,
    }
    explicit["spec"]["agent"]["conversations"] = {"ttl": "24h", "onOverflow": "Trim"}
    explicit["spec"]["model"]["parameters"]["extra"] = {}
    explicit["spec"]["resilience"]["circuitBreaker"] = {"failureThreshold": 5}
    assert _behaviour(explicit) == _behaviour(minimal)


def test_behaviour_holds_no_name_of_a_secret():
    text = json.dumps(_behaviour(FULL))
    assert not [
        word for word in ("apiKeySecretRef", "secretKeyRef", "apiKeysSecretRef", "urlSecretRef") if word in text
    ]
