"""What the reader chose."""

from __future__ import annotations

import pytest

from demo.errors import DemoError
from demo.settings import ClusterChoice, read_cluster_choice, read_provider


@pytest.mark.parametrize(
    ("environment", "choice"),
    [
        ({}, ClusterChoice()),
        ({"CLUSTER": "", "CLUSTER_NAME": "", "NODES": "", "IMAGE_REGISTRY": ""}, ClusterChoice()),
        ({"CLUSTER_NAME": "two", "NODES": "2"}, ClusterChoice(name="two", nodes=2)),
        (
            {"CLUSTER": "current", "IMAGE_REGISTRY": "registry.example.com/team/"},
            ClusterChoice(current=True, registry="registry.example.com/team"),
        ),
    ],
)
def test_choice_is_read_from_the_environment(environment, choice):
    assert read_cluster_choice(environment) == choice


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"CLUSTER": "kind"}, "CLUSTER=kind"),
        ({"NODES": "two"}, "NODES=two"),
        ({"CLUSTER": "current"}, "IMAGE_REGISTRY"),
    ],
)
def test_senseless_choice_is_refused_by_name(environment, named):
    with pytest.raises(DemoError, match=named):
        read_cluster_choice(environment)


def test_provider_is_simulated_without_a_key():
    assert read_provider({"OPENAI_MODEL": "gpt-4o-mini"}) is None


def test_key_of_the_provider_is_never_shown():
    provider = read_provider({"OPENAI_API_KEY": "sk-secret"})
    assert provider is not None
    assert "sk-secret" not in f"{provider} {provider!r}"
