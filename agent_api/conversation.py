"""Conversation ids: `<revision>.<epoch>.<random>`, minted by the runtime, read by gateway and runtime."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_ID_LENGTH = 128
_ID = re.compile(
    r"(?P<revision>[a-z][-a-z0-9]{0,61}[a-z0-9])\.(?P<epoch>0|[1-9][0-9]{0,8})\.(?P<token>[A-Za-z0-9_-]{8,48})"
)


@dataclass(frozen=True, slots=True)
class ConversationId:
    """The parts of a conversation id."""

    revision: str
    epoch: int
    token: str

    def __str__(self) -> str:
        """Write the id as it travels."""
        return f"{self.revision}.{self.epoch}.{self.token}"


def parse_conversation_id(text: str) -> ConversationId | None:
    """Parts of an id, or None if the text is not one that a runtime minted."""
    match = _ID.fullmatch(text) if len(text) <= MAX_ID_LENGTH else None
    if match is None:
        return None
    return ConversationId(match["revision"], int(match["epoch"]), match["token"])
