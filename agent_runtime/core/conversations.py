"""Which conversation a run belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from agent_api.conversation import ConversationId, parse_conversation_id

_EPOCH_DIGITS = 9


@dataclass(frozen=True, slots=True)
class EvidenceUnit:
    """What was randomised: a conversation, or a user with all of them. `name` is a hash, which pods may publish."""

    name: str
    by_user: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A run's place in its conversation; `unit` is what it is evidence of, None where no chance chose the revision."""

    conversation: ConversationId
    first: bool
    unit: EvidenceUnit | None = None


def turn_of(offered: str | None, revision: str, epoch: int, token: str) -> Turn:
    """Continue the offered conversation if it is this revision's, else begin one in `epoch` with a random `token`."""
    known = parse_conversation_id(offered) if offered is not None else None
    if known is not None and known.revision == revision:
        return Turn(known, first=False)
    return Turn(ConversationId(revision, epoch, token), first=True)


def epoch_of(header: str | None) -> int:
    """Epoch that the gateway stamped on the request; 0 without a usable stamp."""
    if header is None or len(header) > _EPOCH_DIGITS or not (header.isascii() and header.isdigit()):
        return 0
    return int(header)
