"""API keys from a mounted Secret."""

from __future__ import annotations

import hmac
import os

import pytest

from agent_runtime.access import api_keys
from agent_runtime.access.api_keys import ApiKeys, ApiKeysUnavailable


class Mount:
    """A directory as the kubelet mounts a Secret: links to files behind a link that is replaced at once."""

    def __init__(self, root):
        self.root, self.serial = root, 0
        root.mkdir()

    def write(self, **files):
        self.serial += 1
        folder = self.root / f"..2026_{self.serial}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
            if not (self.root / name).is_symlink():
                (self.root / name).symlink_to(f"..data/{name}")
        (self.root / "..data_tmp").symlink_to(folder.name)
        (self.root / "..data_tmp").replace(self.root / "..data")
        for link in self.root.iterdir():
            if not link.name.startswith("..") and link.name not in files:
                link.unlink()


class Clock:
    """Seconds that pass when told."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def mount(tmp_path):
    return Mount(tmp_path / "keys")


def test_key_names_the_user_whose_file_holds_it(mount, clock):
    mount.write(alice="key-of-alice\n", bob="key-of-bob\r\n\n  second-of-bob  \n")
    keys = ApiKeys(mount.root, clock)
    assert [keys.user_of(key) for key in ("key-of-alice", "key-of-bob", "second-of-bob")] == ["alice", "bob", "bob"]


@pytest.mark.parametrize(
    "key", ["", "key-of-alic", "key-of-alice ", "KEY-OF-ALICE", "alice", "\n", "clé", "x" * 10_000]
)
def test_other_key_is_nobodys(mount, clock, key):
    mount.write(alice="key-of-alice")
    assert ApiKeys(mount.root, clock).user_of(key) is None


def test_files_without_the_kubelets_links_are_read_as_well(tmp_path, clock):
    (tmp_path / "alice").write_text("key")
    (tmp_path / "folder").mkdir()
    assert ApiKeys(tmp_path, clock).user_of("key") == "alice"


def test_rotation_is_in_force_within_a_second(mount, clock):
    mount.write(alice="old")
    keys = ApiKeys(mount.root, clock)
    assert keys.user_of("old") == "alice"
    mount.write(alice="old\nnew", bob="bobs")
    assert keys.user_of("new") is None
    clock.now += 1
    assert (keys.user_of("old"), keys.user_of("new"), keys.user_of("bobs")) == ("alice", "alice", "bob")
    mount.write(bob="bobs")
    clock.now += 1
    assert (keys.user_of("old"), keys.user_of("new"), keys.user_of("bobs")) == (None, None, "bob")


def test_file_that_changes_in_place_is_read_again(tmp_path, clock):
    (tmp_path / "alice").write_text("one")
    keys = ApiKeys(tmp_path, clock)
    assert keys.user_of("one") == "alice"
    (tmp_path / "alice").write_text("other")
    clock.now += 1
    assert (keys.user_of("one"), keys.user_of("other")) == (None, "alice")


def test_directory_is_looked_at_at_most_once_a_second(mount, clock, monkeypatch):
    mount.write(alice="key")
    keys, looks = ApiKeys(mount.root, clock), []
    monkeypatch.setattr(keys, "_look", lambda look=keys._look: (looks.append(1), look()))
    for _ in range(100):
        keys.user_of("key")
        clock.now += 0.05
    assert len(looks) == 5


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("absent", "missing"),
        ("empty", "no key"),
        ("blank", "no key"),
        ("shared", "several users"),
        ("unreadable", "missing"),
        ("a file", "missing"),
    ],
)
def test_without_a_key_nobody_can_be_told_and_why_is(tmp_path, clock, state, told):
    directory = tmp_path / "keys"
    if state == "a file":
        directory.write_text("key")
    elif state != "absent":
        directory.mkdir()
    if state == "blank":
        (directory / "alice").write_text("\n \n")
    if state == "shared":
        (directory / "alice").write_text("key")
        (directory / "bob").write_text("key")
    if state == "unreadable":
        (directory / "..data").symlink_to("..gone")
    keys = ApiKeys(directory, clock)
    for _ in range(2):
        with pytest.raises(ApiKeysUnavailable, match=told):
            keys.user_of("key")
        assert told in keys.unusable()
        clock.now += 1


def test_secret_that_goes_away_lets_nobody_in_and_comes_back(mount, clock):
    mount.write(alice="key")
    keys = ApiKeys(mount.root, clock)
    keys.user_of("key")
    mount.root.rename(mount.root.with_name("gone"))
    clock.now += 1
    with pytest.raises(ApiKeysUnavailable):
        keys.user_of("key")
    mount.root.with_name("gone").rename(mount.root)
    clock.now += 1
    assert keys.user_of("key") == "alice"


def test_files_replaced_while_they_are_read_are_read_again(mount, clock, monkeypatch):
    mount.write(alice="old")
    keys, read = ApiKeys(mount.root, clock), api_keys._read
    calls = []

    def replaced_meanwhile(directory):
        calls.append(directory)
        if len(calls) == 1:
            mount.write(alice="new")
            raise FileNotFoundError
        return read(directory)

    monkeypatch.setattr(api_keys, "_read", replaced_meanwhile)
    assert keys.user_of("new") == "alice"


def test_key_of_two_users_is_refused(mount, clock, capsys):
    mount.write(alice="shared\nalices", bob="shared\nbobs")
    keys = ApiKeys(mount.root, clock)
    assert [keys.user_of(key) for key in ("shared", "alices", "bobs")] == [None, "alice", "bob"]
    assert "shared" not in capsys.readouterr().out.replace("several users", "")


def test_key_given_twice_by_one_user_is_one(mount, clock):
    mount.write(alice="key\nkey")
    assert ApiKeys(mount.root, clock).user_of("key") == "alice"


def test_every_key_is_compared_as_a_hash_whatever_is_found(mount, clock, monkeypatch):
    mount.write(alice="a", bob="b", carol="c")
    keys, compared = ApiKeys(mount.root, clock), []
    original = hmac.compare_digest
    monkeypatch.setattr(api_keys.hmac, "compare_digest", lambda *pair: (compared.append(pair), original(*pair))[1])
    for key, user in (("a", "alice"), ("c", "carol"), ("x", None)):
        compared.clear()
        assert keys.user_of(key) == user
        assert len(compared) == 3
        assert all(len(digest) == 32 for pair in compared for digest in pair)


def test_no_key_is_kept_in_memory(mount, clock):
    mount.write(alice="key-of-alice")
    keys = ApiKeys(mount.root, clock)
    keys.user_of("key-of-alice")
    assert "key-of-alice" not in repr(vars(keys))


def test_file_of_huge_size_is_read_up_to_the_bound(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(api_keys, "MAX_FILE_BYTES", 8)
    (tmp_path / "alice").write_text("first\nsecond")
    keys = ApiKeys(tmp_path, clock)
    assert (keys.user_of("first"), keys.user_of("second")) == ("alice", None)
    assert os.path.getsize(tmp_path / "alice") > 8  # noqa: PTH202 - the file is larger than what was read
