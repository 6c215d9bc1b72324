"""The command line, and which work it leaves out."""

import json
from types import SimpleNamespace

import pytest

from images import build, deliver
from images.__main__ import main, order_of, parser
from images.build import Order
from images.errors import ImagesError
from images.targets import TARGETS


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """Commands that would have run, on a cache folder of our own."""
    seen: list[str] = []
    monkeypatch.setattr(build, "cache_root", lambda: tmp_path)
    for module in (build, deliver):
        monkeypatch.setattr(module, "run_long", lambda label, argv: seen.append(label))
    return seen


@pytest.fixture
def nodes(monkeypatch):
    """Images that each node of the cluster holds."""
    held: list[set[str]] = [set()]
    monkeypatch.setattr(deliver, "Cluster", lambda: SimpleNamespace(plan=SimpleNamespace(nodes=range(len(held)))))
    monkeypatch.setattr(deliver, "image_names", lambda number: held[number])
    return held


def test_references_are_printed_as_json(capsys):
    assert main(["refs", "--target", "operator", "--tag", "next"]) == 0
    assert json.loads(capsys.readouterr().out) == {"operator": "localhost/greylag-operator:next"}


def test_all_targets_are_the_default():
    assert order_of(parser().parse_args(["build"])) == Order(tuple(TARGETS))


def test_a_build_argument_without_a_value_is_refused(capsys):
    assert main(["refs", "--build-arg", "EXTRA"]) == 1
    assert "NAME=VALUE" in capsys.readouterr().err


def test_a_build_argument_makes_another_image():
    plain, extra = (build.references(Order(("operator",), "", pairs)) for pairs in ((), (("EXTRA", "1"),)))
    assert plain != extra


def test_nothing_runs_when_every_node_holds_the_image(calls, nodes):
    order = Order(("operator",))
    names = build.references(order)
    nodes[:] = [set(names.values()), {*names.values(), "other"}]
    assert deliver.load(order) == names
    assert not calls


def test_a_saved_archive_is_loaded_without_a_build(calls, nodes):
    order = Order(("operator",))
    (image,) = build.references(order).values()
    path = build.archive_path(image)
    path.parent.mkdir(parents=True)
    path.touch()
    nodes[:] = [{image}, set()]
    deliver.load(order)
    assert calls == [f"loading {image}"]


def test_no_cluster_is_an_error_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("CLUSTER_NAME", "nowhere")
    with pytest.raises(ImagesError, match="devcluster up"):
        deliver.load(Order(("operator",)))


def test_targets_that_share_dependencies_are_built_one_after_another():
    assert build._chains(dict.fromkeys(TARGETS, "x")) == [
        ["runtime", "modelserver"],
        ["operator"],
        ["gateway"],
        ["store"],
    ]


def test_only_old_images_that_nobody_wants_are_removed(calls):
    names = [f"localhost/greylag-operator:{number}" for number in range(8)]
    build._prune(SimpleNamespace(names=lambda: names, argv=lambda *words: list(words)), [names[6]])
    assert calls == [f"removing {names[5]}", f"removing {names[7]}"]
