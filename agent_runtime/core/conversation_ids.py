"""Mints and checks conversation ids: whoever has none of our keys can neither make one nor change one."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from typing import TYPE_CHECKING

from agent_api.conversation import ConversationId, marked_token, parse_conversation_id
from agent_api.placement import Placement

if TYPE_CHECKING:
    from collections.abc import Sequence

RANDOM_BYTES = 12
_MARKED_CHARACTERS = 17
_CODE_BYTES = 16
_FOREIGN_EPOCH = 0
_MINTED, _FOREIGN = b"minted", b"foreign"


class ConversationIds:
    """The ids of one revision.

    A token is 16 random characters, the mark of the placement, and a code over all before it: HMAC-SHA256 (RFC 2104) of
    128 bits. All pods of an agent share the keys: the first mints, any checks.
    """

    def __init__(self, revision: str, keys: Sequence[bytes]) -> None:
        self.revision = revision
        self._keys = tuple(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """Go on with other keys.

        Raises
        ------
        ValueError
            If there is none.
        """
        if not keys:
            raise ValueError("ids cannot be minted without a key")
        self._keys = tuple(keys)

    def begun(self, epoch: int, random: bytes, placement: Placement) -> ConversationId:
        """Id of a new conversation; `random` is RANDOM_BYTES long."""
        return self._coded(epoch, marked_token(_text(random), placement))

    def continued(self, offered: str) -> ConversationId | None:
        """The conversation that an id of ours names; None of one that was not minted by this revision."""
        known = parse_conversation_id(offered)
        if known is None or known.revision != self.revision:
            return None
        marked, code = known.token[:_MARKED_CHARACTERS], known.token[_MARKED_CHARACTERS:]
        codes = (self._code(key, known.epoch, marked) for key in self._keys)
        # All are compared, and each in constant time: how long it takes tells nothing.
        return known if sum(hmac.compare_digest(code.encode(), right.encode()) for right in codes) else None

    def of_foreign(self, offered: str, user: str) -> ConversationId:
        """The one conversation that an id of the caller's own names: the same for the same id and user."""
        named = json.dumps([self.revision, user, offered]).encode()
        random = hmac.digest(self._keys[0], _FOREIGN + named, "sha256")[:RANDOM_BYTES]
        return self._coded(_FOREIGN_EPOCH, marked_token(_text(random), Placement.FOREIGN))

    def _coded(self, epoch: int, marked: str) -> ConversationId:
        return ConversationId(self.revision, epoch, marked + self._code(self._keys[0], epoch, marked))

    def _code(self, key: bytes, epoch: int, marked: str) -> str:
        said = f"{self.revision}.{epoch}.{marked}".encode()
        return _text(hmac.digest(key, _MINTED + said, "sha256")[:_CODE_BYTES])


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
