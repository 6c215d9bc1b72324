"""Keys from files."""

from __future__ import annotations

import os

import pytest

from agent_runtime.llm.credentials import CredentialMissing, Credentials


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "2").mkdir()
    return tmp_path


def test_endpoint_that_expects_no_key_gets_none_although_there_is_a_file(directory):
    (directory / "0" / "api-key").write_text("unexpected")
    assert Credentials(directory, ()).key(0) is None


def test_key_is_read_without_its_line_end(directory):
    (directory / "0" / "api-key").write_text("sk-1\n")
    assert Credentials(directory, (0,)).key(0) == "sk-1"


def test_rotated_key_is_read_again(directory):
    file = directory / "0" / "api-key"
    file.write_text("sk-1")
    credentials = Credentials(directory, (0,))
    assert credentials.key(0) == "sk-1"
    (directory / "new").write_text("sk-2")
    (directory / "new").replace(file)
    assert credentials.key(0) == "sk-2"
    assert credentials.secrets() == ("sk-1", "sk-2")


def test_key_that_went_away_and_came_back_is_read_again(directory):
    file = directory / "0" / "api-key"
    file.write_text("sk-1")
    credentials = Credentials(directory, (0,))
    credentials.key(0)
    stat = file.stat()
    file.unlink()
    assert credentials.missing() == {0: "is missing"}
    file.write_text("sk-3")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert credentials.key(0) == "sk-3"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"a\nb", b"caf\xc3\xa9", b"x" * 70_000])
def test_unusable_key_is_missing(directory, content):
    (directory / "2" / "api-key").write_bytes(content)
    credentials = Credentials(directory, (2,))
    with pytest.raises(CredentialMissing):
        credentials.key(2)
    assert list(credentials.missing()) == [2]


def test_key_that_became_unusable_is_not_replaced_by_the_old_one(directory):
    file = directory / "0" / "api-key"
    file.write_text("sk-1")
    credentials = Credentials(directory, (0,))
    credentials.key(0)
    file.write_text("")
    with pytest.raises(CredentialMissing):
        credentials.key(0)
