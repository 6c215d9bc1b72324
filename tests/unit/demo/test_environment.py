"""What the chart is given, and who may run."""

from __future__ import annotations

import pytest

from demo.environment import _flat, _image_values, _merge
from demo.errors import DemoError
from demo.exclusive import exclusive

IMAGES = {name: f"r/{name}:1" for name in ("operator", "gateway", "runtime", "store", "modelserver")}


def test_chart_gets_the_images_and_what_was_asked_for():
    values = _merge(_image_values(IMAGES), {"operator": {"replicas": 2}, "watchNamespaces": ["a"]})
    assert dict(_flat(values)) == {
        "operator.image": "r/operator:1",
        "operator.replicas": 2,
        "gateway.image": "r/gateway:1",
        "runtime.image": "r/runtime:1",
        "store.image": "r/store:1",
        "watchNamespaces": ["a"],
    }


def test_value_that_was_asked_for_wins_over_the_built_image():
    assert _merge(_image_values(IMAGES), {"runtime": {"image": "mine"}})["runtime"] == {"image": "mine"}


def test_empty_map_is_a_value():
    assert _flat({"operator": {"nodeSelector": {}}}) == [("operator.nodeSelector", {})]


def test_second_demo_on_a_cluster_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with exclusive("one"), exclusive("two"), pytest.raises(DemoError, match="cluster one"), exclusive("one"):
        pass
    with exclusive("one"):
        pass
