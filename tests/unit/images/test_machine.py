"""What a build borrows from the machine."""

from configparser import RawConfigParser

import pytest

from images import machine

SETTINGS = "global.index-url='https://files.example/simple'\nglobal.cert='/nowhere'\n:env:.cert='{bundle}'\nglobal.no-cache-dir='1'\n"


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    file = tmp_path / "ca.crt"
    file.write_text("certificate")
    monkeypatch.setattr(machine, "pip_settings", lambda: SETTINGS.format(bundle=file))
    return file


def test_the_environment_wins_over_the_files(bundle):
    assert machine.borrowed(machine.pip_settings()) == {
        "index-url": "https://files.example/simple",
        "cert": str(bundle),
    }


def test_configuration_and_certificates_are_mounted_read_only(bundle, tmp_path):
    volumes = machine.mounts(tmp_path)
    assert volumes == [f"{bundle}:/etc/greylag-build-ca.crt:ro", f"{tmp_path}/pip.conf:/etc/pip.conf:ro"]
    written = RawConfigParser()
    written.read(tmp_path / "pip.conf")
    expected = {"index-url": "https://files.example/simple", "cert": "/etc/greylag-build-ca.crt"}
    assert dict(written["global"]) == expected


def test_a_machine_without_certificates_of_its_own_mounts_none(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "pip_settings", lambda: "")
    monkeypatch.setattr(machine, "_CERTIFICATES", tmp_path / "none")
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert machine.mounts(tmp_path) == [f"{tmp_path}/pip.conf:/etc/pip.conf:ro"]
