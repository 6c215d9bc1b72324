"""What was said in conversations: bounded, forgotten after a while, and each user's own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_runtime.conversations import scripts
from agent_runtime.core.history import PastTurn, complete_turn, messages_of
from agent_runtime.core.messages import message_document, message_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_runtime.core.loop import Message
    from agent_runtime.store.connection import Store

DELETED_AT_ONCE = 500
_ABOUT = ":about"


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How long a conversation is remembered after its last turn, and how much of it; the oldest turns go first.

    `max_carried_bytes` is what one takes along that goes on under another id: each of its askers makes a copy.
    """

    ttl_seconds: float = 86_400
    max_turns: int = 200
    max_bytes: int = 1024 * 1024
    max_carried_bytes: int = 256 * 1024


class ConversationStore:
    """Conversations of one agent. Every method raises StoreUnavailable when the store is away.

    A conversation is named by its user and its id: with the id of another user's, nobody reads or changes that one.
    """

    def __init__(self, store: Store, limits: HistoryLimits | None = None) -> None:
        self._store = store
        self._limits = limits or HistoryLimits()
        self._prefix = store.key("conversation", "")
        self._append = store.script(scripts.APPEND)
        self._summarise = store.script(scripts.SUMMARISE)
        self._continue = store.script(scripts.CONTINUE)
        self._delete = store.script(scripts.DELETE)
        self._delete_user = store.script(scripts.DELETE_USER)

    async def load(self, conversation_id: str, user: str) -> tuple[Message, ...]:
        """Everything that is remembered of a conversation, in its order; nothing of one that is unknown."""
        return messages_of(await self.turns(conversation_id, user))

    async def turns(self, conversation_id: str, user: str) -> tuple[PastTurn, ...]:
        """What is remembered of a conversation, by turn; nothing of one that is unknown."""
        kept = await self._store.client.lrange(self._prefix + _name(user, conversation_id), 0, -1)
        return tuple(map(_turn_of, kept))

    async def append(self, conversation_id: str, user: str, messages: Sequence[Message]) -> bool:
        """Add a turn: the question, calls of tools with their results, the answer. Turns that end together both stay.

        A turn that is larger than all that may be kept is not kept: false.
        """
        limits = self._limits
        document = _encoded(complete_turn(messages))
        if len(document) >= limits.max_bytes:
            return False
        name = _name(user, conversation_id)
        ttl = round(limits.ttl_seconds * 1000)
        await self._append(self._keys(user, name), [name, document, ttl, limits.max_turns, limits.max_bytes])
        return True

    async def summarised(self, conversation_id: str, user: str, through: int, summary: Message) -> bool:
        """Put a summary in the place of the turns up to a number; false if they have gone since they were read."""
        keys = self._keys(user, _name(user, conversation_id))
        return bool(await self._summarise(keys, [through, _encoded((summary,))]))

    async def continued(self, old: str, new: str, user: str) -> bool:
        """Let a conversation begin with the last of what was said in another; false if it has begun, or nothing was.

        The other stays as it is, so that whoever asks again by its id is answered as well.
        """
        name, before = _name(user, new), self._prefix + _name(user, old)
        limits = self._limits
        keys = [*self._keys(user, name), before]
        return bool(await self._continue(keys, [name, round(limits.ttl_seconds * 1000), limits.max_carried_bytes]))

    async def delete(self, conversation_id: str, user: str) -> bool:
        """Forget a conversation of this user; false if there was none."""
        name = _name(user, conversation_id)
        return bool(await self._delete(self._keys(user, name), [name]))

    async def delete_user(self, user: str) -> int:
        """Forget all conversations of a user; says how many there were."""
        total, found = 0, DELETED_AT_ONCE
        while found == DELETED_AT_ONCE:
            found, deleted = await self._delete_user([self._index(user)], [self._prefix, _ABOUT, DELETED_AT_ONCE])
            total += deleted
        return total

    def _keys(self, user: str, name: str) -> list[str]:
        return [self._prefix + name, self._prefix + name + _ABOUT, self._index(user)]

    def _index(self, user: str) -> str:
        return self._store.key("conversations", _digest(user))


def _name(user: str, conversation_id: str) -> str:
    return _digest(user, conversation_id)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _encoded(messages: Sequence[Message]) -> bytes:
    return json.dumps([message_document(message) for message in messages], separators=(",", ":")).encode()


def _turn_of(kept: bytes | str) -> PastTurn:
    number, _, document = (kept if isinstance(kept, str) else kept.decode()).partition(" ")
    return PastTurn(int(number), tuple(map(message_of, json.loads(document))))
