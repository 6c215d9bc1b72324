"""The soak runs on the same laboratory as the end-to-end tests."""

from __future__ import annotations

from tests.support.fixtures import lab, team

__all__ = ["lab", "team"]
