"""What is said of wrong fields: the field, the value where it can be no secret, and the way out."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from agent_api.reference import field_rows
from agent_api.v1alpha1.agent import AgentDeployment
from agentctl.local.wrong_fields import wrong_fields

DURATION = "numbers with h, m, s or ms and no spaces, such as 24h, 90s or 1m30s; there are no days"
MONEY = "a decimal number of US dollars without sign, at most 6 decimals, such as 0.05"
SECRET = "sk-Very-Secret"


def told(spec, **changes):
    """What is said of a spec that is good but for some of its fields."""
    good = {"agent": {"instructions": "Be kind."}, "model": {"name": "m", "baseURL": "http://127.0.0.1:9/v1"}}
    metadata = {"apiVersion": "greylag.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": "a"}}
    text = json.dumps({**metadata, "spec": {**good, **spec}, **changes})
    with pytest.raises(ValidationError) as refused:
        AgentDeployment.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    return wrong_fields(refused.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"modle": {}}, "spec.modle: is no field; did you mean model? There are: replicas, paused, suspend, agent, "),
        (
            {"model": {"name": "m", "baseUrl": "http://a"}},
            (
                "spec.model.baseUrl: is no field; did you mean baseURL? There are: name, baseURL, apiKeySecretRef,"
                " parameters, timeouts, price; spec.model.baseURL: Field required"
            ),
        ),
        (
            {"model": {"name": "m", "base_url": "http://a"}},
            "spec.model.base_url: is no field; did you mean baseURL?",
        ),
        ({"budgets": {"dayly": {}}}, "spec.budgets.dayly: is no field; did you mean daily? There are: perRequest, "),
        (
            {"cache": {"tll": "1h"}},
            "spec.cache.tll: is no field; did you mean ttl? There are: ttl, scope; spec.cache.ttl",
        ),
        (
            {"tools": [{"name": "kb", "mpc": {}}]},
            "spec.tools[0].mpc: is no field; did you mean mcp? There are: name, mcp, http, idempotent",
        ),
        ({"cache": {"ttl": "1h", "zzz": 1}}, "spec.cache.zzz: is no field; there are: ttl, scope"),
        (
            {"rollout": {"canary": {"steps": [{"analyze": {"deep": True}}]}}},
            "spec.rollout.canary.steps[0].analyze.deep: is no field, and there are none here; leave it out",
        ),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_an_unknown_field_is_told_with_the_nearest_and_with_all(spec, said):
    assert told(spec).startswith(said)


def test_an_unknown_field_beside_the_spec_is_told():
    assert told({}, sepc={}).startswith("sepc: is no field; did you mean spec? There are: apiVersion, kind, metadata")


def test_what_the_readme_says_is_not_there_yet_is_refused_by_name():
    said = told({"autoscaling": {"max": 3}})
    assert said == "spec.autoscaling: is not there yet; leave it out, and say in spec.replicas how many pods"
    metrics = {"rollout": {"canary": {"analysis": {"metrics": [{"name": "latency"}]}}}}
    assert told(metrics) == "spec.rollout.canary.analysis.metrics[0].name: 'latency': must be 'errorRate'"


def test_the_name_of_a_field_cannot_rewrite_the_terminal():
    said = told({"\x1b[2J" + "x" * 200: 1})
    assert said.startswith("spec.[2Jxxx")
    assert "x" * 80 not in said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"cache": {"ttl": "1d"}}, f"spec.cache.ttl: '1d': must be {DURATION}"),
        ({"cache": {"ttl": "10 minutes"}}, f"spec.cache.ttl: '10 minutes': must be {DURATION}"),
        *(
            ({"budgets": {"daily": {"costUSD": cost}}}, f"spec.budgets.daily.costUSD: '{cost}': must be {MONEY}")
            for cost in ("$1", "-1", "0.0000001")
        ),
        ({"budgets": {"perRequest": {"costUSD": "1,5"}}}, f"spec.budgets.perRequest.costUSD: '1,5': must be {MONEY}"),
        (
            {"tools": [{"name": "my kb"}]},
            (
                "spec.tools[0].name: 'my kb': must be lower case letters, digits and '-', beginning with a letter,"
                " such as my-kb"
            ),
        ),
        (
            {"toolPolicy": {"default": "allow"}},
            "spec.toolPolicy.default: 'allow': must be 'Allow', 'Deny' or 'RequireApproval'",
        ),
        ({"cache": {"ttl": "1h\x1b[2J"}}, f"spec.cache.ttl: '1h\\x1b[2J': must be {DURATION}"),
        ({"cache": {"ttl": 10}}, f"spec.cache.ttl: must be a text; put it in quotes: {DURATION}"),
        ({"model": {"name": 7, "baseURL": "http://a"}}, "spec.model.name: must be a text; put it in quotes"),
    ],
)
def test_a_wrong_value_is_told_with_the_form_in_words(spec, said):
    assert told(spec) == said


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"model": {"name": "m", "baseURL": f"https://user:{SECRET}@host/v1"}},
            "spec.model.baseURL: must be an absolute URL without user, password or fragment, such as",
        ),
        (
            {"access": {"apiKeysSecretRef": {"name": SECRET}}},
            "spec.access.apiKeysSecretRef.name: must be the name of an object: lower case letters, digits",
        ),
        (
            {"store": {"urlSecretRef": {"name": "redis", "key": f"redis://{SECRET}@host"}}},
            "spec.store.urlSecretRef.key: must be the name of a key: letters, digits",
        ),
        ({"budgets": {"timeZone": SECRET * 3 + "!"}}, "spec.budgets.timeZone: must be the IANA name of a time zone"),
        ({"runtime": {"env": [{"name": "A", "value": f"{SECRET}\0"}]}}, "spec.runtime.env[0].value: "),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_a_value_that_may_be_a_secret_is_not_shown(spec, said):
    text = told(spec)
    assert text.startswith(said)
    assert SECRET not in text


def test_a_form_without_words_is_told_by_what_the_reference_says_of_the_field():
    toleration = {"runtime": {"pod": {"tolerations": [{"operator": "In"}]}}}
    description = next(row.description for row in field_rows("spec") if row.path.endswith("tolerations[].operator"))
    assert told(toleration) == (
        f"spec.runtime.pod.tolerations[0].operator: is not of the form that it must have: {description[:-1]}"
    )
