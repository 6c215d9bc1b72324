"""API keys while the kubelet replaces them, over and over."""

from __future__ import annotations

import threading
import time

import pytest

from agent_runtime.access import api_keys
from agent_runtime.access.api_keys import ApiKeys

ROTATIONS = 300


def swap(root, serial, files):
    """Replace a mounted Secret as the kubelet does, and take the old files away at once."""
    folder = root / f"..2026_{serial}"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    (root / "..data_tmp").symlink_to(folder.name)
    (root / "..data_tmp").replace(root / "..data")
    old = root / f"..2026_{serial - 1}"
    if old.exists():
        for file in old.iterdir():
            file.unlink()
        old.rmdir()


@pytest.fixture
def root(tmp_path):
    swap(tmp_path, 0, {"alice": "kept\nserial-0"})
    (tmp_path / "alice").symlink_to("..data/alice")
    return tmp_path


def test_key_that_stays_is_good_through_every_rotation(root, monkeypatch):
    monkeypatch.setattr(api_keys, "CHECK_SECONDS", 0.0)
    keys, over, users = ApiKeys(root), threading.Event(), []

    def ask():
        while not over.is_set():
            users.append(keys.user_of("kept"))

    asker = threading.Thread(target=ask)
    asker.start()
    for serial in range(1, ROTATIONS):
        swap(root, serial, {"alice": f"kept\nserial-{serial}"})
        asked = len(users)
        while len(users) == asked and asker.is_alive():
            time.sleep(0)
    over.set()
    asker.join(30)
    assert len(users) >= ROTATIONS
    assert set(users) == {"alice"}
    assert keys.user_of(f"serial-{ROTATIONS - 1}") == "alice"
    assert keys.user_of("serial-0") is None
