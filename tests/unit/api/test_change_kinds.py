"""Which changes make a revision, and the canonical form that its hash is made of."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from agent_api.change_kinds import CHANGE_KINDS, ChangeKind, behaviour_of, change_kind_of
from agent_api.reference import field_rows
from agent_api.v1alpha1.agent import AgentDeployment

REPOSITORY = Path(__file__).parents[3]
GOLDEN = REPOSITORY / "tests/data/canonical_behaviour.json"
FULL = yaml.safe_load((REPOSITORY / "tests/data/bad_manifests.yaml").read_text(encoding="utf-8"))["base"]

PATHS = [row.path for row in field_rows("spec")]
LEAVES = [path for path in PATHS if not any(other.startswith((f"{path}.", f"{path}[]")) for other in PATHS)]


def _manifest(name: str):
    if name == "full":
        return copy.deepcopy(FULL)
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
    ],
)
def test_kind_is_that_of_the_longest_entry(path, kind):
    assert change_kind_of(path) is kind


@pytest.mark.parametrize("path", ["runtime", "budgets.daily", "modelling", ""])
def test_path_that_no_entry_covers_has_no_kind(path):
    with pytest.raises(KeyError):
        change_kind_of(path)


@pytest.mark.parametrize("name", ["01-minimal", "02-canary", "03-fallback", "full"])
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
    }
    assert _behaviour(explicit) == _behaviour(minimal)


def test_behaviour_holds_no_name_of_a_secret():
    assert "apiKeySecretRef" not in json.dumps(_behaviour(FULL))
