"""What decides whether programs are compiled again."""

import pytest

from devcluster import toolchain
from devcluster.errors import DevclusterError
from devcluster.toolchain import PROGRAMS, build_key, go_version
from devcluster.watched import run_watched


@pytest.fixture
def module(tmp_path):
    (tmp_path / "go.mod").write_text("module a\n", encoding="utf-8")
    (tmp_path / "go.sum").write_text("b\n", encoding="utf-8")
    return tmp_path


def test_the_key_is_the_same_for_every_clone(module, tmp_path_factory):
    clone = tmp_path_factory.mktemp("clone")
    for name in ("go.mod", "go.sum"):
        (clone / name).write_bytes((module / name).read_bytes())
    assert build_key(clone) == build_key(module)


@pytest.mark.parametrize("name", ["go.mod", "go.sum"])
def test_the_key_changes_with_a_version(module, name):
    before = build_key(module)
    (module / name).write_text("module a\nb\n", encoding="utf-8")
    assert build_key(module) != before


def test_the_key_changes_with_the_flags(module, monkeypatch):
    before = build_key(module)
    monkeypatch.setattr(toolchain, "_FLAGS", ("-race",))
    assert build_key(module) != before


def test_every_program_is_a_tool_of_the_module():
    text = (toolchain.MODULE / "go.mod").read_text(encoding="utf-8")
    tools = text.partition("tool (")[2].partition(")")[0].split()
    assert set(tools) == set(PROGRAMS.values())


def test_the_version_shown_is_the_version_compiled():
    text = (toolchain.MODULE / "go.mod").read_text(encoding="utf-8")
    assert f"k8s.io/kubernetes {toolchain._KUBERNETES}" in text


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8\n", (1, 26)), ("go1.27rc1", (1, 27)), ("devel go1.28-abc", (0, 0)), ("", (0, 0))],
)
def test_go_versions(text, version):
    assert go_version(text) == version


def test_a_failed_build_shows_the_end_of_its_output():
    with pytest.raises(DevclusterError, match=r"(?s)compiling a.*failed \(1\).*undefined: x"):
        run_watched(["sh", "-c", "echo undefined: x; exit 1"], "compiling a", lambda _: None, timeout=10)


def test_a_build_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr("devcluster.watched._REPORT_SECONDS", 0.05)
    reports = []
    with pytest.raises(DevclusterError, match="more than"):
        run_watched(["sleep", "30"], "compiling a", reports.append, timeout=0.2)
    assert len(reports) > 1
