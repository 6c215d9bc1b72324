"""The objects that the demo applies."""

from __future__ import annotations

import random

import pytest

from agent_api.change_kinds import behaviour_of
from agent_api.quantities import seconds
from agent_api.runtime_document import RuntimeDocument
from agent_api.v1alpha1.agent import AgentDeployment
from agent_operator.core.revision import make_document
from agent_operator.core.validation import invalid_parts
from agent_runtime.core.policy import Allowed, Denied, ToolRules
from demo.manifests import (
    SIMULATED_URL,
    make_agent,
    make_model_server,
    make_namespace,
    make_secret,
    make_tool_server,
    make_traffic,
    versions,
)
from demo.model_server.faults import BAD_MARK
from demo.prices import Price, price_of
from demo.settings import Provider
from demo.traffic.script import Load, write_script

PROVIDER = Provider("sk-secret", "https://api.openai.com/v1", "gpt-4o-mini", "gpt-4o-mini", "no-such-model")


@pytest.mark.parametrize("provider", [None, PROVIDER])
def test_each_version_is_another_behaviour(provider):
    specs = [AgentDeployment.model_validate(make_agent(v, provider)).spec for v in versions(provider)]
    behaviours = [str(behaviour_of(spec)) for spec in specs]
    assert len(set(behaviours)) == 3


def test_only_the_third_version_asks_models_that_fail():
    bad = [[BAD_MARK in model for model in version.models] for version in versions(None)]
    assert bad == [[False], [False], [True, True]]


@pytest.mark.parametrize("provider", [None, PROVIDER])
def test_key_is_in_the_secret_alone(provider):
    texts = [str(make_agent(version, provider)) for version in versions(provider)]
    texts += [str(make_model_server("image")), str(make_traffic("image")), str(make_namespace())]
    assert "sk-secret" not in "".join(texts)
    assert ("apiKeySecretRef" in texts[0]) is (provider is not None)
    assert make_secret(PROVIDER)["data"] == {"api-key": "c2stc2VjcmV0"}


def test_drain_outlasts_every_conversation():
    spec = AgentDeployment.model_validate(make_agent(versions(None)[0])).spec
    longest = max(sum(write_script(Load(), random.Random(seed)).pauses) for seed in range(2000))
    assert longest < seconds(spec.rollout.conversation_drain)


@pytest.mark.parametrize("objects", [make_model_server("image"), make_tool_server("image"), make_traffic("image")])
def test_pods_are_admitted_as_restricted(objects):
    pod = objects[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def document(provider=None, **options) -> RuntimeDocument:
    spec = AgentDeployment.model_validate(make_agent(versions(provider)[0], provider, **options)).spec
    return make_document("support", "support-a", spec, "Be kind.", namespace="demo")


@pytest.mark.parametrize("provider", [None, PROVIDER])
def test_the_operator_finds_nothing_wrong_with_it(provider):
    for version in versions(provider):
        assert not invalid_parts(AgentDeployment.model_validate(make_agent(version, provider)).spec, {})


@pytest.mark.parametrize(
    ("tool", "arguments", "decision"),
    [
        ("shop.getOrder", {"order_id": "17"}, Allowed),
        ("shop.refundOrder", {"order_id": "17", "reason": "it is damaged"}, Allowed),
        ("shop.refundOrder", {"order_id": "17", "reason": "I do not like it"}, Denied),
        ("shop.getWeather", {"city": "Paris"}, Denied),
    ],
)
def test_policy_allows_lookups_and_refunds_of_what_was_damaged_alone(tool, arguments, decision):
    assert isinstance(ToolRules(document().tool_policy).decide(tool, arguments, 0, {}), decision)


def test_tools_are_called_where_their_server_listens():
    service = make_tool_server("image")[1]
    name, namespace, port = service["metadata"]["name"], service["metadata"]["namespace"], service["spec"]["ports"][0]
    assert document().tools[0].base_url == f"http://{name}.{namespace}.svc.cluster.local:{port['port']}"


def test_no_breaker_spares_a_run_that_the_report_expects_to_fail():
    assert document().breaker.failure_threshold >= 10_000


def test_price_of_a_known_model_is_the_tables_and_reaches_the_agent_behind_a_relay():
    price = price_of(PROVIDER)
    assert price == Price("0.15", "0.6")
    endpoint = document(PROVIDER, base_url="http://10.0.0.1:8010/v1", price=price).endpoints[0]
    assert (endpoint.price.input_micro, endpoint.price.output_micro) == (150_000, 600_000)


def test_budgets_count_tokens_where_no_price_is_known():
    unknown = Provider("sk", "https://models.example.com/v1", "ours", "ours", "none")
    assert price_of(unknown) is None
    spec = make_agent(versions(unknown)[0], unknown, SIMULATED_URL, price_of(unknown))["spec"]
    assert spec["budgets"] == {"perRequest": {"tokens": 20_000}}
    assert "price" not in spec["model"]
