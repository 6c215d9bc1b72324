"""The store: an older version never wins, and what a listing does not show is gone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_api.meta import AGENT_LABEL, REVISION_LABEL
from agent_operator.cluster import kinds
from agent_operator.cluster.store import Store, agent_of, key_of, version_of


def made(name="a", version=1, namespace="ns", **labels):
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version), "labels": labels}}


KIND = kinds.POD


def item(name, version, labels=None):
    return made(name, version, **(labels or {}))


def stored(store, name="a"):
    found = store.get(kinds.POD, "ns", name)
    return None if found is None else version_of(found)


def test_newer_versions_replace_older_ones_and_never_the_other_way():
    store = Store()
    assert store.put(kinds.POD, made(version=5))
    assert not store.put(kinds.POD, made(version=5))
    assert not store.put(kinds.POD, made(version=4))
    assert stored(store) == 5
    assert store.put(kinds.POD, made(version=10))
    assert stored(store) == 10


def test_a_deleted_object_does_not_come_back_from_an_older_answer():
    store = Store()
    store.put(kinds.POD, made(version=5))
    assert store.remove(kinds.POD, made(version=7))
    assert not store.put(kinds.POD, made(version=6))
    assert not store.put(kinds.POD, made(version=7))
    assert stored(store) is None
    assert store.put(kinds.POD, made(version=8))


def test_a_late_deletion_does_not_touch_what_was_made_since():
    store = Store()
    store.put(kinds.POD, made(version=9))
    assert not store.remove(kinds.POD, made(version=7))
    assert stored(store) == 9


def test_the_deletion_of_what_is_not_known_is_remembered():
    store = Store()
    assert not store.remove(kinds.POD, made(version=7))
    assert not store.put(kinds.POD, made(version=6))


def test_deletions_may_arrive_in_any_order():
    store = Store()
    store.remove(kinds.POD, made(version=7))
    store.remove(kinds.POD, made(version=3))
    assert not store.put(kinds.POD, made(version=5))


def test_a_listing_takes_away_what_it_does_not_show():
    store = Store()
    store.put(kinds.POD, made("gone", 3))
    store.put(kinds.POD, made("kept", 4))
    store.put(kinds.POD, made("changed", 5))
    listed = [made("kept", 4), made("changed", 8), made("new", 9)]
    assert store.replace_all(kinds.POD, listed, 10) == {("ns", "gone"), ("ns", "changed"), ("ns", "new")}
    assert (stored(store, "gone"), stored(store, "kept"), stored(store, "changed"), stored(store, "new")) == (
        None,
        4,
        8,
        9,
    )


def test_a_listing_keeps_what_was_made_after_it():
    store = Store()
    store.put(kinds.POD, made("young", 12))
    store.put(kinds.POD, made("newer", 13))
    assert store.replace_all(kinds.POD, [made("newer", 9)], 10) == set()
    assert (stored(store, "young"), stored(store, "newer")) == (12, 13)


def test_a_listing_keeps_deletions_that_came_after_it():
    store = Store()
    store.remove(kinds.POD, made("a", 12))
    store.remove(kinds.SERVICE, made("a", 3))
    assert store.replace_all(kinds.POD, [made("a", 9)], 10) == set()
    assert not store.put(kinds.POD, made("a", 11))
    assert not store.put(kinds.SERVICE, made("a", 3))


def test_a_listing_forgets_deletions_before_it():
    store = Store()
    store.remove(kinds.POD, made("a", 7))
    store.replace_all(kinds.POD, [], 10)
    assert store._deleted == {}


def test_kinds_do_not_mix():
    store = Store()
    store.put(kinds.POD, made("a", 5))
    assert store.get(kinds.SERVICE, "ns", "a") is None
    store.replace_all(kinds.SERVICE, [], 99)
    assert stored(store) == 5


def test_a_discarded_object_may_be_seen_again():
    store = Store()
    store.put(kinds.POD, made(version=5))
    store.discard(kinds.POD, ("ns", "a"))
    store.discard(kinds.POD, ("ns", "a"))
    assert store.put(kinds.POD, made(version=5))


def test_objects_are_found_by_namespace_and_by_agent():
    store = Store()
    mine = made("a", 1, **{"greylag.dev/agent": "support"})
    store.put(kinds.POD, mine)
    store.put(kinds.POD, made("b", 2, **{"greylag.dev/agent": "other"}))
    store.put(kinds.POD, made("c", 3, namespace="else", **{"greylag.dev/agent": "support"}))
    assert store.of_agent(kinds.POD, "ns", "support") == {"a": mine}
    assert [key_of(entry) for entry in store.in_namespace(kinds.POD, "ns")] == [("ns", "a"), ("ns", "b")]
    assert len(list(store.all(kinds.POD))) == 3
    assert agent_of({"metadata": {}}) is None
    assert version_of({"metadata": {}}) == 0


EVENTS = st.lists(
    st.tuples(st.sampled_from(("put", "remove")), st.sampled_from("ab"), st.integers(1, 12)), min_size=1, max_size=25
)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_the_end_does_not_depend_on_the_order_of_events(events, random):
    """Of each version of an object there is one event; whatever comes when, the newest one counts."""
    unique = list({(name, version): (what, name, version) for what, name, version in events}.values())
    ends = []
    for _ in range(2):
        random.shuffle(unique)
        store = Store()
        for what, name, version in unique:
            (store.put if what == "put" else store.remove)(kinds.POD, made(name, version))
        ends.append({name: stored(store, name) for name in "ab"})
    newest = {
        name: max((entry for entry in unique if entry[1] == name), key=lambda e: e[2], default=None) for name in "ab"
    }
    expected = {name: last[2] if last is not None and last[0] == "put" else None for name, last in newest.items()}
    assert ends == [expected, expected]


def test_after_a_restore_from_a_backup_the_listing_counts_whatever_was_seen_before():
    store = Store()
    store.replace_all(KIND, [item("a", 90), item("gone", 95)], 100)
    store.put(KIND, item("a", 120))
    store.remove(KIND, item("back", 110))
    assert store.replace_all(KIND, [item("a", 40), item("back", 41)], 50) == {
        ("ns", "a"),
        ("ns", "gone"),
        ("ns", "back"),
    }
    assert [version_of(found) for found in store.all(KIND)] == [40, 41]
    assert store.put(KIND, item("a", 51)), "what comes next is taken again"


def test_a_listing_as_old_as_the_one_before_is_no_restore():
    store = Store()
    store.replace_all(KIND, [item("a", 90)], 100)
    store.put(KIND, item("a", 120))
    store.replace_all(KIND, [item("a", 90)], 100)
    assert version_of(store.get(KIND, "ns", "a")) == 120


def test_objects_are_found_by_their_labels_as_they_are_now():
    store = Store()
    store.put(KIND, item("p", 1, labels={REVISION_LABEL: "r1", AGENT_LABEL: "support"}))
    assert [found["metadata"]["name"] for found in store.labelled(KIND, "ns", REVISION_LABEL, "r1")] == ["p"]
    store.put(KIND, item("p", 2, labels={REVISION_LABEL: "r2"}))
    assert store.labelled(KIND, "ns", REVISION_LABEL, "r1") == []
    assert len(store.labelled(KIND, "ns", REVISION_LABEL, "r2")) == 1
    assert store.of_agent(KIND, "ns", "support") == {}
    store.remove(KIND, item("p", 3))
    assert store.labelled(KIND, "ns", REVISION_LABEL, "r2") == store.in_namespace(KIND, "ns") == []


def test_a_label_that_finds_nothing_is_a_mistake():
    with pytest.raises(ValueError, match="not found by label"):
        Store().labelled(KIND, "ns", "app", "x")


class Counting(dict):
    """Metadata that counts how often it is looked at."""

    looks = 0

    def __getitem__(self, name):
        Counting.looks += 1
        return super().__getitem__(name)

    def get(self, name, default=None):
        Counting.looks += 1
        return super().get(name, default)


def test_a_look_costs_what_it_finds_and_not_what_there_is():
    store = Store()
    for number in range(3000):
        manifest = item(f"p{number}", number + 1, labels={AGENT_LABEL: f"agent-{number}", REVISION_LABEL: f"r{number}"})
        store.put(KIND, {"metadata": Counting(manifest["metadata"])})
    Counting.looks = 0
    assert len(store.of_agent(KIND, "ns", "agent-7")) == 1
    assert len(store.labelled(KIND, "ns", REVISION_LABEL, "r7")) == 1
    assert store.get(KIND, "ns", "p7") is not None
    assert store.in_namespace(KIND, "other") == []
    assert Counting.looks == 0
