"""Which conversation a run belongs to, and what the run is evidence of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_api.observations import conversation_hash, user_unit
from agent_api.placement import Placement

if TYPE_CHECKING:
    from agent_api.conversation import ConversationId
    from agent_runtime.core.conversation_ids import ConversationIds

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


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a conversation that begins is made of: the gateway's epoch and placement, and chance."""

    epoch: int
    placement: Placement
    random: bytes


def turn_of(ids: ConversationIds, offered: str | None, user: str, fresh: Fresh) -> Turn:
    """Continue the offered conversation if this revision minted its id, else the one that a foreign id names.

    Without an id a conversation begins. An id that was forged, is the caller's own, or another revision's, is foreign:
    the same for the same user and id, and no evidence of anything.
    """
    if not offered:
        return Turn(ids.begun(fresh.epoch, fresh.random, fresh.placement), first=True)
    known = ids.continued(offered)
    return Turn(ids.of_foreign(offered, user) if known is None else known, first=False)


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
