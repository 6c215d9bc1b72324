"""What the API server's audit log says of writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OPERATOR = "system:serviceaccount:greylag-system:greylag-operator"
GATEWAY_SUFFIX = ":greylag-gateway"


class Audit:
    """Entries of an audit log from a position on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = path.stat().st_size if path.exists() else 0

    def entries(self) -> Iterator[dict[str, Any]]:
        """Whole entries written since the last call."""
        with self._path.open("rb") as log:
            log.seek(self.position)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self.position += len(line)
                yield json.loads(line)

    def writes_by(self, namespace: str, *users: str) -> list[dict[str, Any]]:
        """Successful writes to a namespace since the last call, by identity."""
        return [
            entry
            for entry in self.entries()
            if entry["user"]["username"] in users
            and entry.get("objectRef", {}).get("namespace") == namespace
            and entry["responseStatus"]["code"] < 400
        ]


def describe(entry: dict[str, Any]) -> str:
    """One line of an entry."""
    what = entry.get("objectRef", {})
    place = f"{what.get('namespace')}/{what.get('name')}"
    return f"{entry['verb']} {what.get('resource')}/{what.get('subresource', '')} {place}"


def routing_states(entries: list[dict[str, Any]], agent: str) -> list[tuple[Any, ...]]:
    """Distinct routing states, in order, that writes of an AgentRoute made."""
    states: list[tuple[Any, ...]] = []
    for entry in entries:
        what = entry.get("objectRef", {})
        if what.get("resource") != "agentroutes" or what.get("name") != agent:
            continue
        spec = entry["requestObject"]["spec"]
        state = tuple(sorted((r["role"], r["name"], r["weight"]) for r in spec["revisions"]))
        if not states or states[-1] != state:
            states.append(state)
    return states
