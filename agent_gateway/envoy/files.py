"""The configuration folder: files that Envoy follows, each moved into place whole."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from agent_gateway.envoy.resources import Resource


class ConfigFolder:
    """Reads and replaces discovery files; knows what it last wrote, and at start what is on disk."""

    def __init__(self, root: Path) -> None:
        """Take over a folder, with the files that an earlier process left in it."""
        self._root = root
        self._written: dict[str, Resource] = {}
        if root.is_dir():
            self._written = {str(path.relative_to(root)): content for path, content in _read_all(root)}

    def prepare(self, first: Mapping[str, Resource]) -> None:
        """Write what Envoy needs to start, where it is missing: it exits if a file that it follows does not exist."""
        self._root.mkdir(parents=True, exist_ok=True)
        for name, content in first.items():
            if name not in self._written:
                self.write(name, content)

    def read(self, name: str) -> Resource | None:
        """Content of a file, or None if there is none."""
        return self._written.get(name)

    def write(self, name: str, content: Resource) -> bool:
        """Move new content into place; False if the file holds it already."""
        if self._written.get(name) == content:
            return False
        path = self._root / name
        draft = path.with_name(f".{path.name}.new")
        draft.write_text(json.dumps(content), encoding="utf-8")
        os.replace(draft, path)  # noqa: PTH105 - the atomic move is the point
        self._written[name] = content
        return True


def _read_all(root: Path) -> list[tuple[Path, Resource]]:
    found = []
    for path in sorted(root.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if isinstance(content, dict):
            found.append((path, content))
    return found
