"""Settings from the environment."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from agent_runtime.settings import Settings


@pytest.mark.parametrize(("text", "positions"), [("", ()), ("0", (0,)), ("0,2", (0, 2)), (" 1 , 3 ", (1, 3))])
def test_positions_of_credentials_are_read(monkeypatch, text, positions):
    monkeypatch.setenv("GREYLAG_CREDENTIALS", text)
    assert Settings().credentials == positions


def test_senseless_positions_are_refused(monkeypatch):
    monkeypatch.setenv("GREYLAG_CREDENTIALS", "first")
    with pytest.raises(ValidationError):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("TASK_CONCURRENCY", "0"),
        ("TASK_CONCURRENCY", "257"),
        ("LAME_DUCK_SECONDS", "-1"),
        ("LAME_DUCK_SECONDS", "61"),
        ("CAPTURE_CONTENT", "perhaps"),
        ("CREDENTIALS", "0;1"),
    ],
)
def test_value_out_of_its_bounds_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(f"GREYLAG_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert name.lower() in str(refused.value)


def test_without_an_environment_there_is_no_store_and_no_text_in_traces(monkeypatch):
    for name in ("STORE_DIRECTORY", "API_KEYS_DIRECTORY", "CAPTURE_CONTENT"):
        monkeypatch.delenv(f"GREYLAG_{name}", raising=False)
    settings = Settings()
    assert (settings.store_directory, settings.api_keys_directory, settings.capture_content) == (None, None, False)
    assert settings.pod_name
