"""The catalogue of bad manifests: an accepted one, and the changes of one field that the API server must refuse."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import yaml

CATALOGUE = yaml.safe_load((Path(__file__).parents[1] / "data" / "bad_manifests.yaml").read_text(encoding="utf-8"))


def _path(text: str) -> list[str | int]:
    """Parts of `spec.fallback[0].name`: names and indices."""
    return [int(index) if index else name for name, index in re.findall(r"([A-Za-z][A-Za-z0-9_]*)|\[([0-9]+)\]", text)]


def changed(base: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Copy the accepted manifest with the one change of an entry."""
    manifest: Any = copy.deepcopy(base)
    *parents, last = _path(entry.get("set") or entry["remove"])
    node = manifest
    for part in parents:
        node = node[part]
    if "remove" in entry:
        del node[last]
    elif "repeat" in entry:
        piece, times = entry["repeat"]
        node[last] = piece * times if isinstance(piece, str | list) else [piece] * times
    elif "numbered" in entry:
        node[last] = {f"p{number}": number for number in range(entry["numbered"])}
    else:
        node[last] = entry["value"]
    result: dict[str, Any] = manifest
    return result
