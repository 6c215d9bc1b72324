"""The objects that the demo applies."""

from __future__ import annotations

import random

import pytest

from agent_api.change_kinds import behaviour_of
from agent_api.quantities import seconds
from agent_api.v1alpha1.agent import AgentDeployment
from demo.manifests import make_agent, make_model_server, make_namespace, make_secret, make_traffic, versions
from demo.model_server.faults import BAD_MARK
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


@pytest.mark.parametrize("objects", [make_model_server("image"), make_traffic("image")])
def test_pods_are_admitted_as_restricted(objects):
    pod = objects[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
