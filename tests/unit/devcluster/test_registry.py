"""Which clusters exist, and which addresses are free."""

import json
import threading
from pathlib import Path

import pytest

from devcluster import plan, registry
from devcluster.errors import DevclusterError

PROGRAMS = Path("/bin")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "RUN_ROOT", tmp_path / "run")
    monkeypatch.setattr(registry, "RUN_ROOT", tmp_path / "run")
    use_routes(monkeypatch)


def use_routes(monkeypatch, *destinations):
    routes = json.dumps([{"dst": "default"}, *({"dst": destination} for destination in destinations)])
    monkeypatch.setattr(registry, "run", lambda _: routes)


def test_clusters_side_by_side_get_different_indexes():
    indexes = [registry.new_record(name, 1, PROGRAMS).index for name in ("a", "b", "c")]
    assert indexes == [0, 1, 2]
    assert registry.cluster_names() == ["a", "b", "c"]


def test_ranges_that_the_machine_uses_are_left_out(monkeypatch):
    use_routes(monkeypatch, "10.100.7.0/24", "172.30.1.5", "10.202.0.0/16", "fe80::/64", "172.31.3.0/30")
    assert registry.new_record("a", 1, PROGRAMS).index == 4


def test_no_free_range_is_said(monkeypatch):
    use_routes(monkeypatch, "10.0.0.0/8")
    with pytest.raises(DevclusterError, match="no free address range"):
        registry.new_record("a", 1, PROGRAMS)


def test_a_record_is_read_as_written():
    record = registry.new_record("a", 2, PROGRAMS)
    assert registry.read_record("a") == record
    assert len(registry.plan_of("a", record).nodes) == 2


def test_a_damaged_record_names_the_way_out(tmp_path):
    registry.new_record("a", 1, PROGRAMS)
    (tmp_path / "run" / "a" / "cluster.json").write_text("{", encoding="utf-8")
    with pytest.raises(DevclusterError, match="down --name a"):
        registry.read_record("a")
    assert registry.quiet_record("a") is None


def test_the_lock_is_held_against_others_until_released():
    order = []
    entered = threading.Event()

    def second():
        entered.set()
        with registry.locked("a"):
            order.append("second")

    thread = threading.Thread(target=second)
    with registry.locked("a") as path:
        thread.start()
        assert entered.wait(10)
        thread.join(0.3)
        order.append("first")
        path.unlink()
    thread.join(10)
    assert order == ["first", "second"]


def test_the_registry_goes_with_the_last_cluster(tmp_path):
    record = registry.new_record("a", 1, PROGRAMS)
    registry.forget_if_empty()
    assert registry.read_record("a") == record
    (tmp_path / "run" / "a" / "cluster.json").unlink()
    (tmp_path / "run" / "a").rmdir()
    registry.forget_if_empty()
    assert not (tmp_path / "run").exists()
