"""Whether a live object already is what a manifest asks for."""

from __future__ import annotations

import pytest

from agent_operator.core.drift import covers, fingerprint_source, projection


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        (1, 1),
        ("a", "a"),
        (None, None),
        ({"a": 1, "added": 2}, {"a": 1}),
        ({"a": {"b": 1, "added": 2}}, {"a": {"b": 1}}),
        ([{"a": 1, "added": 2}], [{"a": 1}]),
        ([], []),
        ({}, {"a": {}}),
        ({}, {"a": []}),
        ({}, {"a": ""}),
        ({}, {"a": None}),
        ({"a": 1}, {}),
    ],
)
def test_covered(live, desired):
    assert covers(live, desired) is True


@pytest.mark.parametrize(
    ("live", "desired"),
    [
        (1, 2),
        ("1", 1),
        ({}, {"a": 0}),
        ({}, {"a": False}),
        ({}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": {}}),
        ([1], {"a": 1}),
        ({"a": 1}, []),
        ([1, 2], [1]),
        ([1], [1, 2]),
        ([2, 1], [1, 2]),
        ({"a": [1]}, {"a": []}),
        ({"a": "x"}, {"a": ""}),
        (None, {"a": {}}),
    ],
)
def test_not_covered(live, desired):
    assert covers(live, desired) is False


@pytest.mark.parametrize(
    ("live", "desired", "part"),
    [
        ({"a": 1, "b": 2}, {"a": 5}, {"a": 1}),
        ({"a": {"b": "100m", "c": 1}}, {"a": {"b": "0.1"}}, {"a": {"b": "100m"}}),
        ([{"a": 1, "b": 2}], [{"a": 3}], [{"a": 1}]),
        ([1, 2], [1], [1, 2]),
        ({"b": 1}, {"a": 1}, {}),
        ("x", {"a": 1}, "x"),
        ({"a": 1}, [1], {"a": 1}),
    ],
)
def test_projection_keeps_what_the_manifest_speaks_of(live, desired, part):
    assert projection(live, desired) == part


def test_replicas_of_a_deployment_are_no_part_of_its_fingerprint():
    manifest = {"kind": "Deployment", "spec": {"replicas": 2, "template": {"x": 1}}}
    assert fingerprint_source(manifest) == {"kind": "Deployment", "spec": {"template": {"x": 1}}}
    assert manifest["spec"]["replicas"] == 2


@pytest.mark.parametrize("manifest", [{"kind": "Service", "spec": {"replicas": 1}}, {"kind": "Deployment"}])
def test_of_other_manifests_everything_is(manifest):
    assert fingerprint_source(manifest) is manifest
