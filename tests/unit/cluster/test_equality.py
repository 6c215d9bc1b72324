"""Values that are equal make no other revision, however they are written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent_api.v1alpha1.agent import AgentDeploymentSpec
from agent_operator.cluster.equality import equal_revision, renamed
from agent_operator.core.resources.metadata import make_owner
from agent_operator.core.resources.record import make_record
from agent_operator.core.resources.workload import make_overlay
from tests.support.agents import minimal_spec, record_of

PRICE = {"inputPerMillion": "2.5", "outputPerMillion": "10"}


def record(**changes):
    return record_of(AgentDeploymentSpec.model_validate(minimal_spec(**changes)))


def recorded(*records):
    owner = make_owner("support", "uid")
    overlay = make_overlay(AgentDeploymentSpec.model_validate(minimal_spec()))
    return {known.name: make_record(known, overlay, "support", "ns", owner) for known in records}


def model(**changes):
    return {"name": "gpt-x", "baseURL": "http://models.example/v1", **changes}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"agent": {"instructions": "i", "timeout": "5m"}}, {"agent": {"instructions": "i", "timeout": "300s"}}),
        ({"model": model(price=PRICE)}, {"model": model(price={**PRICE, "inputPerMillion": "2.50"})}),
        (
            {"runtime": {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}},
            {"runtime": {"resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}}}},
        ),
    ],
    ids=["durations", "money", "quantities"],
)
def test_equal_values_are_the_recorded_revision(one, other):
    known, wanted = record(**one), record(**other)
    assert known.name != wanted.name
    assert equal_revision(wanted, recorded(known), [known.name]) == known.name


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": {"instructions": "i", "timeout": "301s"}},
        {"agent": {"instructions": "j", "timeout": "300s"}},
        {"agent": {"instructions": "i", "timeout": "300s"}, "runtime": {"image": "other:1"}},
        {"agent": {"instructions": "i", "timeout": "300s"}, "runtime": {"resources": {"requests": {"cpu": "2"}}}},
    ],
    ids=["duration", "instructions", "image", "resources"],
)
def test_other_values_are_another_revision(changes):
    known = record(agent={"instructions": "i", "timeout": "5m"})
    assert equal_revision(record(**changes), recorded(known), [known.name]) is None


def test_the_first_of_the_names_that_is_equal_is_taken():
    one, other = (record(agent={"instructions": "i", "timeout": text}) for text in ("5m", "300s"))
    wanted = record(agent={"instructions": "i", "timeout": "0.5m270s"})
    records = recorded(one, other)
    assert equal_revision(wanted, records, ["gone", other.name, one.name]) == other.name


def test_what_is_no_record_is_passed_over():
    known = record()
    broken = {"metadata": {"name": "broken"}, "data": {}}
    wanted = renamed(known, "support-wanted")
    assert equal_revision(wanted, {"broken": broken, **recorded(known)}, ["broken", known.name]) == known.name


def test_a_renamed_record_is_the_same_under_the_other_name():
    known = record()
    other = renamed(known, "support-other")
    assert (other.name, other.document.revision) == ("support-other", "support-other")
    assert known.name not in str(other.template)
    assert renamed(other, known.name) == known


@pytest.mark.parametrize(
    "change",
    [
        lambda template: {**template, "spec": {**template["spec"], "volumes": []}},
        lambda template: {**template, "metadata": {"labels": {}}},
        lambda template: {
            **template,
            "spec": {**template["spec"], "containers": [{**template["spec"]["containers"][0], "command": ["sh"]}]},
        },
    ],
    ids=["volumes", "labels", "command"],
)
def test_another_template_is_another_revision(change):
    known = record()
    wanted = renamed(known, "support-wanted")
    wanted = replace(wanted, template=change(wanted.template))
    assert equal_revision(wanted, recorded(known), [known.name]) is None


def test_amounts_that_are_none_are_equal_as_they_stand():
    known = record(runtime={"resources": {"requests": {"cpu": "1"}}})
    container = {**known.template["spec"]["containers"][0], "resources": {"requests": {"cpu": "much"}}}
    odd = replace(known, template={**known.template, "spec": {**known.template["spec"], "containers": [container]}})
    wanted = renamed(odd, "support-wanted")
    assert equal_revision(wanted, recorded(odd), [odd.name]) == odd.name
    assert equal_revision(wanted, recorded(known), [known.name]) is None
