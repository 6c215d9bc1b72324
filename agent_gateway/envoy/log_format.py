"""What a line of Envoy's access log says: the renderer writes the format, and `failures` reads the lines."""

from __future__ import annotations

from dataclasses import dataclass

COUNTED_FLAGS = frozenset({"LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NC", "URX", "UPE"})
"""Response flags of an answer that failed between Envoy and the pod; a client that went away (DC) is none of them."""


@dataclass(frozen=True, slots=True)
class _LogFields:
    start: str = "start"
    cluster: str = "cluster"
    route: str = "route"
    epoch: str = "epoch"
    flags: str = "flags"
    status: str = "status"
    outcome: str = "outcome"
    method: str = "method"
    conversation: str = "conversation"
    placement: str = "placement"
    users: str = "users"
    user: str = "user"


LOG_FIELDS = _LogFields()
"""Names of the fields of a log line."""

USERS_CLAIMED = "claimed"
"""Users are told apart by a header, which the log shows."""
USERS_PROVEN = "proven"
"""Users are told apart by a credential, which the log must not show."""
