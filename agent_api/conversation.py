"""Conversation ids: `<revision>.<epoch>.<token>`, minted by the runtime, read by gateway and runtime.

The token is 16 random characters and a mark that says how the conversation was placed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent_api.placement import Placement

MAX_ID_LENGTH = 128
_ID = re.compile(
    r"(?P<revision>[a-z][-a-z0-9]{0,61}[a-z0-9])\.(?P<epoch>0|[1-9][0-9]{0,8})\.(?P<token>[A-Za-z0-9_-]{8,48})"
)

_RANDOM_CHARACTERS = 16
_MARKS = {"s": Placement.SPLIT, "u": Placement.SPLIT_BY_USER}
_NO_MARK = "w"


@dataclass(frozen=True, slots=True)
class ConversationId:
    """The parts of a conversation id."""

    revision: str
    epoch: int
    token: str

    def __str__(self) -> str:
        """Write the id as it travels."""
        return f"{self.revision}.{self.epoch}.{self.token}"

    @property
    def split(self) -> Placement | None:
        """How chance chose the revision: SPLIT or SPLIT_BY_USER; None if it did not."""
        return _MARKS.get(self.token[_RANDOM_CHARACTERS : _RANDOM_CHARACTERS + 1])


def parse_conversation_id(text: str) -> ConversationId | None:
    """Parts of an id, or None if the text is not one that a runtime minted."""
    match = _ID.fullmatch(text) if len(text) <= MAX_ID_LENGTH else None
    if match is None:
        return None
    return ConversationId(match["revision"], int(match["epoch"]), match["token"])


def marked_token(random: str, placement: Placement) -> str:
    """Token of a new conversation, from 16 random characters.

    Raises
    ------
    ValueError
        If they are not 16: the mark would stand elsewhere.
    """
    if len(random) != _RANDOM_CHARACTERS:
        raise ValueError(f"a token is made of {_RANDOM_CHARACTERS} random characters, not {len(random)}")
    return random + next((mark for mark, placed in _MARKS.items() if placed is placement), _NO_MARK)
