"""The key of conversation ids: one an agent, made by whichever pod comes first, and kept in the store."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import structlog

from agent_runtime.store.circuit import StoreUnavailable

if TYPE_CHECKING:
    from agent_runtime.core.conversation_ids import ConversationIds
    from agent_runtime.store.connection import Store

KEY_BYTES = 32
MAX_KEYS = 4
"""Keys of before a store lost its data, by which ids that are out are still known."""
_RETRY_SECONDS = 1.0
_LOOK_SECONDS = 30.0
_log = structlog.get_logger(__name__)


def new_key() -> bytes:
    """A key that nobody else has."""
    return secrets.token_bytes(KEY_BYTES)


class ConversationKeys:
    """Gives ids the key that all pods share; a pod without it mints ids that only itself knows, and is not ready."""

    def __init__(self, store: Store, ids: ConversationIds) -> None:
        self._store = store
        self._ids = ids
        self._name = store.key("conversation-key")
        self._known: tuple[bytes, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether the key was read, or made, in the store; nobody else needs that of a process of its own."""
        return bool(self._known) or not self._store.is_shared

    async def run(self) -> None:
        """Look after the key, endlessly: a store that lost it gets it back, and a new one is taken over."""
        while True:
            try:
                await self.read()
            except StoreUnavailable:
                await asyncio.sleep(_RETRY_SECONDS if not self.shared else _LOOK_SECONDS)
            else:
                await asyncio.sleep(_LOOK_SECONDS)

    async def read(self) -> None:
        """Read the key, or give the store ours if it has none; raises StoreUnavailable."""
        ours = self._known[0] if self._known else new_key()
        await self._store.client.set(self._name, ours.hex(), nx=True)
        key = _key_of(await self._store.client.get(self._name))
        if key is None:
            _log.warning("the key of conversation ids in the store is damaged, and is replaced")
            await self._store.client.set(self._name, ours.hex())
            key = ours
        if self._known[:1] != (key,):
            self._known = (key, *(known for known in self._known if known != key))[:MAX_KEYS]
            self._ids.use(self._known)


def _key_of(stored: bytes | str | None) -> bytes | None:
    try:
        key = bytes.fromhex(stored.decode() if isinstance(stored, bytes) else stored or "")
    except ValueError:
        return None
    return key if len(key) == KEY_BYTES else None
