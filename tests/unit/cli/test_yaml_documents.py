"""Files of YAML that are refused before they do harm, and what is read from the others."""

from __future__ import annotations

import sys

import pytest

from agentctl.errors import ManifestError
from agentctl.local.yaml_documents import MAX_DEPTH, MAX_FILE_BYTES, STANDARD_INPUT, read_documents

SECRET = "sk-very-secret"
BILLION_LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
)


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "agent.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_documents_and_members_of_lists_are_read(file):
    path = file("a: 1\n---\n---\n- no mapping\n---\nkind: List\nitems: [{b: 2}, 3, {c: 3}]\n")
    assert read_documents(path) == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_a_dash_is_standard_input_and_leaves_it_open(file, monkeypatch):
    with file("a: 1\n").open() as given:
        monkeypatch.setattr(sys, "stdin", given)
        assert read_documents(STANDARD_INPUT) == [{"a": 1}]
        given.seek(0)
        assert given.read() == "a: 1\n"


def test_what_is_wrong_with_standard_input_names_it(file, monkeypatch):
    with file("a: [").open() as given:
        monkeypatch.setattr(sys, "stdin", given)
        with pytest.raises(ManifestError, match=r"^standard input: cannot be read as YAML: "):
            read_documents(STANDARD_INPUT)


def test_anchors_and_merges_mean_what_yaml_says(file):
    path = file("base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\n")
    assert read_documents(path) == [{"base": {"a": 1, "b": 2}, "more": {"a": 1, "b": 3}}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BILLION_LAUGHS, "with its aliases written out; use fewer aliases"),
        ("a: &a [*a]", "with its aliases written out; use fewer aliases"),
        ("a: " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} levels deep"),
        ("[" * 200_000, f"nested more than {MAX_DEPTH} levels deep"),
        ("[" * 999_999 + "]" * 999_999, f"nested more than {MAX_DEPTH} levels deep"),
        ("a: 1\nb: 2\na: 3\n", "key 'a' is there twice; leave one out, line 1"),
        ("spec:\n  x: {y: 1, y: 2}\n", "key 'y' is there twice; leave one out, line 2"),
        ("a: [1\nb: 2\n", "line 2"),
        ("a: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a: !!timestamp 2024-13-45\n", "month must be in 1..12"),
        ("a: !!int no\n", "invalid literal"),
        (b"a: \xff\xfe\xfa", "cannot be read as YAML"),
        (b"a: \x00", "cannot be read as YAML"),
        ("{" * 50 + "}" * 50 + ": 1", "cannot be read as YAML"),
    ],
    ids=lambda value: str(value)[:24].encode("unicode_escape").decode(),
)
def test_bad_yaml_is_refused_with_its_cause_on_one_line(file, text, said):
    path = file(text)
    with pytest.raises(ManifestError) as refused:
        read_documents(path)
    message = str(refused.value)
    assert message.startswith(f"{path}: cannot be read as YAML: ")
    assert said in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300


def test_a_broken_line_is_not_repeated(file):
    with pytest.raises(ManifestError) as refused:
        read_documents(file(f'stringData:\n  key: "{SECRET}" and: [\n'))
    assert SECRET not in str(refused.value)


def test_a_file_that_is_too_large_is_refused(file):
    with pytest.raises(ManifestError, match=f"larger than {MAX_FILE_BYTES} bytes; leave out"):
        read_documents(file(b"#" * (MAX_FILE_BYTES + 1)))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ManifestError) as refused:
        read_documents(tmp_path / "absent.yaml")
    assert (
        str(refused.value)
        == f"{tmp_path}/absent.yaml: No such file or directory; name a YAML file with an AgentDeployment"
    )


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ManifestError, match="Is a directory"):
        read_documents(tmp_path)
