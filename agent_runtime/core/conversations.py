"""Which conversation a run belongs to, and what the run is evidence of."""

from __future__ import annotations

from dataclasses import dataclass

from agent_api.conversation import ConversationId, parse_conversation_id
from agent_api.observations import conversation_hash, user_unit
from agent_api.placement import Placement

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


def placement_of(header: str | None, offered: str | None) -> Placement:
    """How the gateway placed a request; where it does not say (it is older), an id is none that was split."""
    if header in set(Placement):
        return Placement(header)
    return Placement.SPLIT if offered is None else Placement.FOREIGN


def unit_of(conversation: ConversationId, user: str | None) -> EvidenceUnit | None:
    """What a run in a conversation is evidence of; `user` is None where no header and no credential names one.

    Users who are not named are split anew with each conversation.
    """
    split = conversation.split
    if split is Placement.SPLIT_BY_USER and user is not None:
        return EvidenceUnit(user_unit(user, conversation.epoch), by_user=True)
    return None if split is None else EvidenceUnit(conversation_hash(str(conversation)))


def epoch_of(header: str | None) -> int:
    """Epoch that the gateway stamped on the request; 0 without a usable stamp."""
    if header is None or len(header) > _EPOCH_DIGITS or not (header.isascii() and header.isdigit()):
        return 0
    return int(header)
