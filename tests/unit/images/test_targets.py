"""Names of images follow their inputs, and nothing else."""

from pathlib import Path

import pytest

from images.errors import ImagesError
from images.targets import ROOT, TARGETS, Target, content_tag, dependencies_tag, image_name, stage

TARGET = Target("operator", ("Dockerfile", "agent_api"), "operator-dependencies")


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    (root / "agent_api").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM scratch\n")
    (root / "agent_api" / "meta.py").write_text("A = 1\n")
    return root


def tag(checkout: Path, name: str, base: str = "b", **arguments: str) -> str:
    context = checkout.parent / name
    stage(TARGET, checkout, context)
    return content_tag(context, base, arguments)


def test_the_same_inputs_give_the_same_tag(checkout):
    before = tag(checkout, "one")
    (checkout / "agent_api" / "meta.py").touch()
    (checkout / "agent_api" / "meta.py").chmod(0o600)
    assert tag(checkout, "two") == before


@pytest.mark.parametrize("ignored", ["__pycache__/meta.pyc", ".hidden", "__pycache__/meta.cpython-311.pyc"])
def test_what_tools_leave_behind_changes_nothing(checkout, ignored):
    before = tag(checkout, "one")
    path = checkout / "agent_api" / ignored
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    assert tag(checkout, "two") == before


def test_content_name_base_and_arguments_change_the_tag(checkout):
    tags = {tag(checkout, "one"), tag(checkout, "two", base="c"), tag(checkout, "three", EXTRA="x")}
    (checkout / "agent_api" / "meta.py").rename(checkout / "agent_api" / "meta2.py")
    tags.add(tag(checkout, "four"))
    (checkout / "agent_api" / "meta2.py").write_text("A = 2\n")
    tags.add(tag(checkout, "five"))
    assert len(tags) == 5


def test_a_change_of_code_keeps_the_dependencies(tmp_path):
    stage(TARGETS["operator"], ROOT, tmp_path)
    before = content_tag(tmp_path, "b", {}), dependencies_tag(tmp_path, "b")
    (tmp_path / "agent_api" / "meta.py").write_text("A = 2\n")
    after = content_tag(tmp_path, "b", {}), dependencies_tag(tmp_path, "b")
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]
    (tmp_path / "locks" / "operator.txt").write_text("kopf==1\n")
    assert dependencies_tag(tmp_path, "b") != after[1]


def test_staged_files_are_readable_by_every_user_and_have_no_time(checkout):
    (checkout / "agent_api" / "meta.py").chmod(0o600)
    tag(checkout, "one")
    staged = (checkout.parent / "one" / "agent_api" / "meta.py").stat()
    assert (staged.st_mode & 0o777, staged.st_mtime) == (0o644, 0)


def test_a_missing_input_is_named(checkout):
    (checkout / "Dockerfile").unlink()
    with pytest.raises(ImagesError, match="image operator: Dockerfile is missing"):
        tag(checkout, "one")


def test_a_reference_names_target_and_tag():
    assert image_name("gateway", "abc") == "localhost/greylag-gateway:abc"
    with pytest.raises(ImagesError, match="is no image tag"):
        image_name("gateway", "a b")


def test_every_target_of_the_dockerfile_is_known_and_copies_only_its_inputs():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    stages = {line.split()[-1] for line in text.splitlines() if line.startswith("FROM ")}
    finals = {name for name in stages if not name.endswith(("-venv", "-dependencies", "-code")) and name != "tools"}
    assert finals == set(TARGETS)
    copied = {line.split()[1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line}
    assert {target.dependencies for target in TARGETS.values()} - {""} <= stages
    assert {
        f"ARG {target.base.argument}={target.base.name.partition(':')[0]}:latest" for target in TARGETS.values()
    } <= {*text.splitlines()}
    inputs = {name for target in TARGETS.values() for name in target.inputs}
    assert copied == inputs - {"Dockerfile"}
