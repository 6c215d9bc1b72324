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
