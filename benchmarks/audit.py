"""What the API server's audit log says of writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

OPERATOR = "system:serviceaccount:greylag-system:greylag-operator"
_FAILED = 400


@dataclass(frozen=True, slots=True)
class Write:
    """One write that the API server answered."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int
    received: float
    """Unix time in seconds at which the request arrived."""
    body: Mapping[str, Any]

    @property
    def failed(self) -> bool:
        """Whether it was refused."""
        return self.status >= _FAILED


def parse_write(line: bytes) -> Write:
    """Read one line of the log."""
    entry = json.loads(line)
    what = entry.get("objectRef", {})
    parts = filter(None, (what.get("resource"), what.get("subresource")))
    return Write(
        user=entry["user"]["username"],
        verb=entry["verb"],
        resource="/".join(parts),
        namespace=what.get("namespace", ""),
        name=what.get("name", ""),
        status=entry["responseStatus"]["code"],
        received=datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp(),
        body=entry.get("requestObject") or {},
    )


class AuditLog:
    """Writes from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size

    def writes(self) -> Iterator[Write]:
        """Whole entries since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._position)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                yield parse_write(line)


def of_operator(writes: Iterable[Write], namespace: str) -> list[Write]:
    """Those that the operator made in a namespace."""
    return [write for write in writes if write.user == OPERATOR and write.namespace == namespace]


def count_by_resource(writes: Iterable[Write]) -> dict[str, int]:
    """How many writes there were of each verb and resource."""
    return dict(sorted(Counter(f"{write.verb} {write.resource}" for write in writes).items()))


def route_writes(writes: Iterable[Write], agent: str) -> dict[int, float]:
    """When the first write of each serial of an AgentRoute arrived."""
    arrivals: dict[int, float] = {}
    for write in writes:
        if (write.resource, write.name) == ("agentroutes", agent) and not write.failed:
            arrivals.setdefault(write.body["spec"]["serial"], write.received)
    return arrivals
