"""Figures of the soak."""

from __future__ import annotations

import json
from typing import Any

from demo.console import ROOT


def keep(name: str, **figures: Any) -> None:
    """Write them where people look for them."""
    results = ROOT / "build" / "soak" / f"{name}.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(figures, indent=1) + "\n")
